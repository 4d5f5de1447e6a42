//! Bringing one name of the target to the state of the source.

use std::io;

use driftless_fs::copy::copy_content_while;
use driftless_fs::xattr::XattrChange;
use driftless_fs::{Attributes, Powers, Root, SourceFile, Writers, is_absent};
use driftless_transfer::TransferOptions;
use driftless_tree::{Kind, Meta, RelPath};

use super::extras::{self, Extras, Xattrs};
use super::likeness::Likeness;
use crate::lane::report::{Failure, Traffic};
use crate::lane::state::Lane;
use crate::lane::work::View;
use crate::rules::Chains;

/// Bytes of each side that are compared at once.
const COMPARED_LEN: usize = 256 * 1024;

/// Permissions that this process needs on a directory to write in it.
const OWNER_ALL: u32 = 0o700;

/// Writes below one target, for one batch or pass.
pub(super) struct Writer<'a> {
    pub(super) target: &'a Root,
    pub(super) source: &'a Root,
    pub(super) options: &'a TransferOptions,
    pub(super) likeness: Likeness<'a>,
    pub(super) extras: Extras,
    /// The target's side of the rules.
    pub(super) protection: Chains,
    pub(super) delete: bool,
    pub(super) traffic: Traffic,
    lane: &'a Lane,
}

/// Why a name was not brought over.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The lane is told to stop.
    Cancelled,
    /// This name cannot be done.
    Name(Failure),
}

impl Trouble {
    fn io(act: &str, error: &io::Error) -> Self {
        Self::Name(Failure::lasting(format!("{act}: {error}")))
    }

    fn passing(why: &str) -> Self {
        Self::Name(Failure::transient(why))
    }
}

/// Says what failed: `.doing("cannot remove it")?`.
pub(super) trait Doing<T> {
    fn doing(self, act: &str) -> Result<T, Trouble>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, act: &str) -> Result<T, Trouble> {
        self.map_err(|error| Trouble::io(act, &error))
    }
}

/// How much is believed of what the target holds under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// That equal type, size and time are an equal object.
    QuickCheck,
    /// The same, once the content has been compared.
    Content,
    /// Nothing: it is replaced.
    Nothing,
}

/// Anything but a directory, as the source has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Object<'a> {
    pub(super) path: &'a RelPath,
    pub(super) meta: &'a Meta,
    /// Text of a symbolic link.
    pub(super) link_target: &'a [u8],
    pub(super) trust: Trust,
    /// It is copied although somebody has it open for writing.
    pub(super) settled: bool,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        target: &'a Root,
        view: &'a View,
        lane: &'a Lane,
        options: &'a TransferOptions,
        delete: bool,
    ) -> Self {
        let likeness = Likeness::new(options, Powers::of_process());
        Self {
            target,
            source: &view.root,
            options,
            extras: Extras::new(options, likeness.superuser()),
            likeness,
            protection: view.rules.protection(target),
            delete,
            traffic: Traffic::default(),
            lane,
        }
    }

    /// Asked between names.
    pub(super) fn go_on(&self) -> Result<(), Trouble> {
        if self.lane.cancelled() { Err(Trouble::Cancelled) } else { Ok(()) }
    }

    /// What the target has under a name.
    pub(super) fn present(&self, path: &RelPath) -> Result<Option<Meta>, Trouble> {
        match self.target.lstat(path) {
            Ok(meta) => Ok(Some(meta)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(Trouble::io("cannot look at the target", &error)),
        }
    }

    /// Makes a directory that can be written in; its attributes come last. Returns what was there
    /// before, if that was a directory.
    pub(super) fn directory(
        &mut self,
        path: &RelPath,
        source: &Meta,
    ) -> Result<Option<Meta>, Trouble> {
        let present = self.present(path)?;
        if let Some(present) = present
            && present.kind == Kind::Dir
        {
            self.open_up(path, &present).doing("cannot make the directory writable")?;
            return Ok(Some(present));
        }
        if present.is_some() {
            self.target.remove_file(path).doing("cannot remove what is in the directory's way")?;
        }
        let mode = self.likeness.mode(source) & 0o777 | OWNER_ALL;
        self.target.create_dir(path, mode).doing("cannot make the directory")?;
        Ok(None)
    }

    /// Lets this process write in a directory of its own.
    pub(super) fn open_up(&self, path: &RelPath, present: &Meta) -> io::Result<()> {
        if self.likeness.superuser() || present.mode & OWNER_ALL == OWNER_ALL {
            return Ok(());
        }
        let mode = Some(present.mode & 0o7777 | OWNER_ALL);
        self.target.set_attributes(Some(path), &Attributes { mode, ..Attributes::default() })
    }

    /// Sets a directory's attributes once nothing more is written in it. `before` is what
    /// [`Writer::directory`] gave.
    pub(super) fn finish_directory(
        &self,
        path: Option<&RelPath>,
        source: &Meta,
        before: Option<&Meta>,
    ) -> Result<(), Trouble> {
        let present = match path {
            Some(path) => self.target.lstat(path),
            None => self.target.meta(),
        };
        let present = present.doing("cannot look at the target")?;
        let wanted = self.likeness.attributes(source, before);
        let lacking = self.likeness.lacking(source, &present);
        // Without `perms`, the mode before, not the one that let us write.
        let mode =
            wanted.mode.filter(|mode| lacking.mode.is_some() || *mode != present.mode & 0o7777);
        self.set(path, source, &present, Attributes { mode, ..lacking })
    }

    /// Sets what the target's `path`, which is `present`, lacks.
    fn set(
        &self,
        path: Option<&RelPath>,
        source: &Meta,
        present: &Meta,
        mut lacking: Attributes,
    ) -> Result<(), Trouble> {
        let xattrs = self.lacking_extras(path, source, present)?;
        if lacking.is_empty() && xattrs.is_empty() {
            return Ok(());
        }
        // Their owner may change those named `user.` of a file that he may write to.
        let has_mode = present.kind != Kind::Symlink;
        if !xattrs.is_empty() && !self.likeness.superuser() && has_mode {
            let mode = present.mode & 0o7777;
            lacking.mode.get_or_insert(mode);
            let writable = Attributes { mode: Some(mode | 0o200), ..Attributes::default() };
            self.target.set_attributes(path, &writable).doing("cannot make it writable")?;
        }
        self.target.set_attributes_with(path, &lacking, &xattrs).doing("cannot set attributes")
    }

    /// The ACLs and extended attributes in which the target's `path`, which is `present`, differs.
    pub(super) fn lacking_extras(
        &self,
        path: Option<&RelPath>,
        source: &Meta,
        present: &Meta,
    ) -> Result<XattrChange, Trouble> {
        if !self.extras.any() {
            return Ok(XattrChange::NONE);
        }
        let mode = self.likeness.attributes(source, Some(present)).mode;
        let wanted = match self.wanted_extras(path, source, mode) {
            // A directory that went, for which another one may stand in, is told of again.
            Err(Trouble::Name(failure)) if failure.transient && source.kind == Kind::Dir => {
                return Ok(XattrChange::NONE);
            }
            wanted => wanted?,
        };
        let there = self.extras.read(self.target, path);
        let there = there.doing("cannot read the target's extended attributes")?;
        Ok(extras::lacking(wanted, &there))
    }

    /// The ACLs and extended attributes of `source`, which had that path, for a target with this mode,
    /// if not the same.
    fn wanted_extras(
        &self,
        path: Option<&RelPath>,
        source: &Meta,
        mode: Option<u32>,
    ) -> Result<Xattrs, Trouble> {
        if !self.extras.any() {
            return Ok(Vec::new());
        }
        let read = self.extras.read(self.source, path).and_then(|found| {
            let now = match path {
                Some(path) => self.source.lstat(path)?,
                None => self.source.meta()?,
            };
            Ok((found, now))
        });
        match read {
            // Other names of what had this one may be linked to what is changed here.
            Ok((_, now)) if (now.dev, now.ino) != (source.dev, source.ino) => {
                Err(Trouble::passing("another file has its name now"))
            }
            Ok((found, _)) => Ok(extras::with_mode(found, mode.unwrap_or(source.mode))),
            Err(error) if is_absent(&error) => Err(Trouble::passing("it is not there any more")),
            Err(error) => Err(Trouble::io("cannot read its extended attributes", &error)),
        }
    }

    /// Makes the target's name the object. Kinds that the options leave out are left alone.
    pub(super) fn object(&mut self, object: &Object<'_>) -> Result<(), Trouble> {
        if !self.likeness.makes(object.meta.kind) {
            return Ok(());
        }
        let mut present = self.present(object.path)?;
        if present.is_some_and(|present| present.kind == Kind::Dir) {
            self.make_way(object.path)?;
            present = None;
        }
        match present {
            Some(present) if self.is_there(object, &present)? => {
                let lacking = self.likeness.lacking(object.meta, &present);
                self.set(Some(object.path), object.meta, &present, lacking)
            }
            _ => self.put(object, present.as_ref()),
        }
    }

    fn is_there(&self, object: &Object<'_>, present: &Meta) -> Result<bool, Trouble> {
        if object.trust == Trust::Nothing || !self.is_like(object, object.path, present) {
            return Ok(false);
        }
        if object.trust == Trust::QuickCheck || object.meta.kind != Kind::File {
            return Ok(true);
        }
        self.has_content(object)
    }

    /// Whether the target's file of that name has the same bytes.
    pub(super) fn has_content(&self, object: &Object<'_>) -> Result<bool, Trouble> {
        let source = self.open_source(object)?;
        let present = self.target.open_file(object.path).doing("cannot read the target")?;
        self.same_content(&source, &present).doing("cannot compare contents")
    }

    /// Whether the target's `path`, which is `present`, passes for the object.
    pub(super) fn is_like(&self, object: &Object<'_>, path: &RelPath, present: &Meta) -> bool {
        self.likeness.same(object.meta, present)
            && (object.meta.kind != Kind::Symlink
                || self.target.read_link(path).is_ok_and(|text| text == object.link_target))
    }

    fn same_content(&self, a: &SourceFile, b: &SourceFile) -> io::Result<bool> {
        let mut buffers = (vec![0; COMPARED_LEN], vec![0; COMPARED_LEN]);
        let mut offset = 0;
        loop {
            let left = read_full(a, offset, &mut buffers.0)?;
            let right = read_full(b, offset, &mut buffers.1)?;
            if buffers.0[..left] != buffers.1[..right] {
                return Ok(false);
            }
            // What was not compared is taken for different: the copy then sees that it is cancelled.
            if self.lane.cancelled() {
                return Ok(false);
            }
            if left < COMPARED_LEN {
                return Ok(true);
            }
            offset += left as u64;
        }
    }

    fn put(&mut self, object: &Object<'_>, replaced: Option<&Meta>) -> Result<(), Trouble> {
        let Object { path, meta, .. } = *object;
        if meta.kind == Kind::File {
            return self.copy(object, replaced);
        }
        let attributes = self.likeness.attributes(meta, replaced);
        let xattrs = self.extras_of_new(path, meta, &attributes)?;
        match meta.kind {
            Kind::Symlink => self
                .target
                .replace_with_symlink(object.link_target, path, &attributes, &xattrs)
                .doing("cannot make the symbolic link"),
            _ => self
                .target
                .replace_with_node(path, meta.mode, meta.rdev, &attributes, &xattrs)
                .doing("cannot make the device, fifo or socket"),
        }
    }

    /// What something new at `path`, made with these attributes, gets.
    fn extras_of_new(
        &self,
        path: &RelPath,
        source: &Meta,
        attributes: &Attributes,
    ) -> Result<XattrChange, Trouble> {
        let wanted = self.wanted_extras(Some(path), source, attributes.mode)?;
        Ok(self.extras.of_new(wanted))
    }

    fn open_source(&self, object: &Object<'_>) -> Result<SourceFile, Trouble> {
        self.source.open_file(object.path).map_err(|error| {
            match is_absent(&error) || error.kind() == io::ErrorKind::InvalidInput {
                true => Trouble::passing("it is not there any more"),
                false => Trouble::io("cannot be read", &error),
            }
        })
    }

    /// Copies one version of a regular file; what changes meanwhile leaves nothing behind.
    fn copy(&mut self, object: &Object<'_>, replaced: Option<&Meta>) -> Result<(), Trouble> {
        let source = self.open_source(object)?;
        let before = source.meta().doing("cannot be read")?;
        let same_inode = (before.dev, before.ino) == (object.meta.dev, object.meta.ino);
        // Other names may be linked to what is written here.
        if object.meta.link_count > 1 && !same_inode {
            return Err(Trouble::passing("another file has its name now"));
        }
        let written = || !object.settled && source.writers() == Writers::Some;
        if written() {
            return Err(Trouble::passing("somebody is writing to it"));
        }
        let new = self.target.replace(object.path).doing("cannot make a temporary file")?;
        let copied =
            copy_content_while(&source, new.file(), before.size, || !self.lane.cancelled())
                .doing("cannot copy it")?;
        self.go_on()?;
        let attributes = self.likeness.attributes(&before, replaced);
        let xattrs = self.extras_of_new(object.path, &before, &attributes)?;
        let after = source.meta().doing("cannot be read")?;
        if copied != before.size || !after.same_version(&before) || written() {
            return Err(Trouble::passing("it changed while it was copied"));
        }
        if self.options.fsync {
            new.file().sync_all().doing("cannot sync it")?;
        }
        new.commit(&attributes, &xattrs).doing("cannot put it in place")?;
        self.traffic.sent += copied;
        self.traffic.files += 1;
        Ok(())
    }

    /// Makes `to` another name of the target's `from`. `false`: the file system cannot.
    pub(super) fn link(&mut self, from: &RelPath, to: &RelPath) -> Result<bool, Trouble> {
        let Some(held) = self.present(from)? else { return Ok(false) };
        match self.present(to)? {
            Some(there) if (there.dev, there.ino) == (held.dev, held.ino) => return Ok(true),
            Some(there) if there.kind == Kind::Dir => self.make_way(to)?,
            _ => {}
        }
        Ok(self.target.replace_with_link(from, to).is_ok())
    }

    /// Renames the target's `from` to `to`. `false`: the file system cannot.
    pub(super) fn rename(&mut self, from: &RelPath, to: &RelPath) -> Result<bool, Trouble> {
        if self.present(to)?.is_some_and(|there| there.kind == Kind::Dir) {
            self.make_way(to)?;
        }
        Ok(self.target.rename(from, to).is_ok())
    }
}

/// Reads until the buffer is full or the file ends.
fn read_full(file: &SourceFile, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match file.read_at(offset + len as u64, &mut buffer[len..])? {
            0 => break,
            read => len += read,
        }
    }
    Ok(len)
}
