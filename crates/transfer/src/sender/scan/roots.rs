//! What the arguments themselves put into the lists: their own entries, the directories above them
//! with `-R`, and what stands for those that are missing. Protocol reference, "Names from
//! arguments".

use std::borrow::Cow;
use std::io::{Error, ErrorKind};

use driftless_tree::flist::{DirFlags, Entry};
use driftless_tree::path::MAX_PATH_LEN;
use driftless_tree::{Kind, Meta};

use crate::driver::Level;
use crate::error::PushError;
use crate::options::MissingArgs;
use crate::sender::scan::args::{self, Argument, trim_slashes};
use crate::sender::scan::disk::{Origin, join};
use crate::sender::scan::state::{Found, State};
use crate::sender::scan::walk::{Seed, Walk};
use crate::sender::session::Session;
use crate::source::tree::entry_of;

impl Walk<'_> {
    /// What the arguments themselves give, with the content of those that stand for it.
    pub(super) fn arguments(
        &mut self,
        sources: &[Vec<u8>],
        names: Option<&[Vec<u8>]>,
        session: &mut Session<'_>,
    ) -> Result<Vec<Seed>, PushError> {
        let relative = self.shared.borrow().options.selection.relative;
        let mut list = Vec::new();
        let dot_dot = |text: &[u8]| {
            let text = String::from_utf8_lossy(text).into_owned();
            PushError::Usage(format!("found \"..\" dir in relative path: {text}"))
        };
        match names {
            None => {
                for source in sources {
                    let argument = match relative {
                        true => args::relative(source, b"").map_err(|_| dot_dot(source))?,
                        false => args::plain(source),
                    };
                    self.argument(&argument, &mut list)?;
                    session.pass_on_texts();
                }
            }
            Some(names) => {
                let dir = sources.first().map_or(&b"."[..], Vec::as_slice);
                self.entered = trim_slashes(dir).to_vec();
                for name in names {
                    let clean = args::sanitized(name);
                    let argument = match relative {
                        true => args::relative(&clean, dir).map_err(|_| dot_dot(name))?,
                        false => args::plain(&inside(dir, clean)),
                    };
                    self.argument(&argument, &mut list)?;
                    session.pass_on_texts();
                }
            }
        }
        Ok(list)
    }

    fn argument(&mut self, given: &Argument, list: &mut Vec<Seed>) -> Result<(), PushError> {
        let shared = self.shared.clone();
        let state = &mut *shared.borrow_mut();
        let mut root = state.disk.root(&given.base);
        let is_content = given.leaf.is_none() && !given.prefix.is_empty();
        let follows = state.options.link.copy_all;
        let is_other = |error: &Error| match error.kind() {
            // A link that leads nowhere can only be sent as such.
            ErrorKind::NotFound => !follows,
            _ => driftless_fs::is_absent(error),
        };
        let argument = match &root {
            Err(error) if is_content && is_other(error) => {
                let named = given.as_name();
                root = state.disk.root(&named.base);
                &Cow::Owned(named)
            }
            _ => &Cow::Borrowed(given),
        };
        let name = argument.name();
        let full = cleaned(join(&self.here, &argument.path()));
        if name.len() > MAX_PATH_LEN {
            state.io_error |= 1;
            state.say(Level::ErrorXfer, [b"path is too long: ", &full[..]].concat());
            return Ok(());
        }
        if root.is_err()
            && let Err(error) = state.disk.root(&argument.root)
        {
            state.io_error |= 1;
            state.fail("change_dir", &join(&self.here, &argument.root), &error);
            return Ok(());
        }
        let opened = root.and_then(|root| {
            let dir = root.open_dir_unlisted(None, false)?;
            let meta = match &argument.leaf {
                Some(leaf) => dir.lstat(leaf)?,
                None => dir.meta()?,
            };
            Ok((dir, meta))
        });
        let opened = opened.and_then(|(dir, meta)| {
            let is_dir = meta.kind == Kind::Dir;
            match state.module.is_some_and(|module| module.hides(&full, is_dir)) {
                true => Err(rustix::io::Errno::NOENT.into()),
                false => Ok((dir, meta)),
            }
        });
        let (dir, meta) = match opened {
            Ok(opened) => opened,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.missing(argument, &full, &error, state, list);
                return Ok(());
            }
            Err(error) => {
                state.io_error |= 1;
                // Without `-R` rsync enters the directory first.
                if argument.parents.is_empty() && argument.leaf.is_some() {
                    state.fail("change_dir", &join(&self.here, &argument.base), &error);
                } else {
                    state.fail("link_stat", &full, &error);
                }
                return Ok(());
            }
        };
        let number = self.origin(argument, &meta, state)?;
        let rules = state.origins[number as usize].rules;
        let mut entry = match &argument.leaf {
            None => entry_of(&name, &meta, Vec::new(), false),
            Some(leaf) => match state.examine(&dir, leaf, &name, number, meta, None) {
                Found::Listed(entry) => entry,
                Found::Passed | Found::Failed => return Ok(()),
            },
        };
        let is_dir = entry.kind() == Some(Kind::Dir);
        if name != b"." && state.options.talk.debug.filter > 0 {
            state.tell_argument_reason(rules, &name, is_dir);
        }
        if name != b"." && state.filters.hides(rules, &name, is_dir) {
            return Ok(());
        }
        let selection = &state.options.selection;
        let is_content = is_dir && (selection.recursive || argument.leaf.is_none());
        if is_dir && !selection.recursive && !selection.dirs() {
            if state.options.talk.info.nonreg > 0 {
                state.say(Level::Info, [b"skipping directory ", &name[..]].concat());
            }
            return Ok(());
        }
        entry.dir = DirFlags { top: is_content, no_content: is_dir && !is_content };
        let chain = state.filters.enter(rules, b".").map_err(PushError::Rules)?;
        let leaf = argument.leaf.as_deref();
        // The argument's own file system is the one that is not left.
        let found = state.complete(&dir, leaf, entry, &meta, chain.as_ref(), number);
        let Found::Listed(mut entry) = found else { return Ok(()) };
        state.add_digests(&dir, std::iter::once(&mut entry));
        self.parents(argument, number, state, list);
        let lists_children = is_content && (name == b"." || !state.options.selection.recursive);
        self.place(argument, (entry, number), state, list);
        if lists_children
            && (self.options.compat.inc_recurse() || !state.options.selection.recursive)
        {
            self.children(number, &name, state, list)?;
        }
        Ok(())
    }

    /// A source that is not there.
    fn missing(
        &mut self,
        argument: &Argument,
        full: &[u8],
        error: &std::io::Error,
        state: &mut State<'_>,
        list: &mut Vec<Seed>,
    ) {
        let place = Meta { dev: 0, ..NOTHING };
        let Ok(number) = self.origin(argument, &place, state) else { return };
        let missing = state.options.selection.missing_args;
        if missing == MissingArgs::Delete {
            let entry = Entry { name: argument.name().into(), ..Entry::default() };
            self.parents(argument, number, state, list);
            self.place(argument, (entry, number), state, list);
            return;
        }
        if missing == MissingArgs::Error {
            state.fail("link_stat", full, error);
        }
        // A dot in front is there in any case.
        let dot = argument.parents.iter().filter(|name| **name == b".").cloned().collect();
        let above = Argument { parents: dot, ..argument.clone() };
        self.parents(&above, number, state, list);
    }

    /// The number of the argument's origin.
    fn origin(
        &mut self,
        argument: &Argument,
        meta: &Meta,
        state: &mut State<'_>,
    ) -> Result<u32, PushError> {
        let root = join(&self.here, &argument.root);
        let rules = state.filters.tree_at(&root).map_err(PushError::Rules)?;
        let origin = Origin {
            base: argument.base.clone(),
            prefix: argument.prefix.clone(),
            shown: join(&self.here, &argument.base),
            source_dir: argument.shown_root(&self.entered),
            rules,
            dev: meta.dev,
        };
        // Names of `--files-from` come from few directories, one after the other.
        let at = match state.origins.iter().rposition(|known| *known == origin) {
            Some(at) if state.origins.len() - at <= KNOWN_ORIGINS => at,
            _ => {
                state.origins.push(origin);
                state.origins.len() - 1
            }
        };
        Ok(at as u32)
    }

    /// Lists the directories above an argument with `-R`.
    fn parents(
        &mut self,
        argument: &Argument,
        number: u32,
        state: &mut State<'_>,
        list: &mut Vec<Seed>,
    ) {
        if !self.lists_parents(state) {
            return;
        }
        let incremental = self.options.compat.inc_recurse();
        let repeated = self.repeated_from(argument, incremental);
        for name in &argument.parents {
            let is_repeated =
                name.len() >= repeated && name != b"." && !(incremental && name.contains(&b'/'));
            if !self.implied.insert(name.clone()) && !is_repeated {
                continue;
            }
            let path = join(&argument.root, name);
            let opened = state.disk.root(&path).and_then(|root| {
                let dir = root.open_dir_unlisted(None, false)?;
                let meta = dir.meta()?;
                Ok((dir, meta))
            });
            let (dir, meta) = match opened {
                Ok(opened) => opened,
                Err(error) => {
                    let path = cleaned(join(&self.here, &path));
                    state.unlisted("link_stat", &path, &error);
                    // What is in it is looked for there, by each argument (seen).
                    if incremental {
                        self.implied.remove(name);
                        break;
                    }
                    continue;
                }
            };
            let mut entry = entry_of(name, &meta, Vec::new(), false);
            entry.dir = DirFlags { top: true, no_content: true };
            let found = state.complete(&dir, None, entry, &meta, None, number);
            let Found::Listed(entry) = found else { continue };
            self.put_below(name, (entry, number), list);
        }
    }

    /// The length of names from which on the parents of an argument are listed again: as the
    /// original does, it remembers the last ones alone. Incremental lists repeat the first component.
    fn repeated_from(&mut self, argument: &Argument, incremental: bool) -> usize {
        const NOTHING_IS: usize = usize::MAX;
        let named = |name: &&Vec<u8>| **name != b".";
        let (root, path) = match incremental {
            true => (argument.root.clone(), argument.parents.iter().find(named)),
            false => (Vec::new(), argument.parents.iter().rfind(named)),
        };
        let Some(path) = path else { return NOTHING_IS };
        let (last_root, last) = &self.last_implied;
        let rest = last.strip_prefix(&path[..]);
        if *last_root == root && rest.is_some_and(|rest| matches!(rest, [] | [b'/', ..])) {
            return NOTHING_IS;
        }
        let common = path.iter().zip(last).take_while(|(a, b)| a == b).count();
        let slash = path[..common].iter().rposition(|&b| b == b'/').unwrap_or(0);
        self.last_implied = (root, path.clone());
        slash + 1
    }

    /// From protocol 30 on the receiving side wants them in any case, and looks away by itself.
    fn lists_parents(&self, state: &State<'_>) -> bool {
        state.options.selection.implied_dirs || self.options.protocol >= 30
    }

    fn place(&mut self, argument: &Argument, seed: Seed, state: &State<'_>, list: &mut Vec<Seed>) {
        if argument.parents.is_empty() || !self.lists_parents(state) {
            list.push(seed);
        } else {
            let name = seed.0.name.to_vec();
            self.put_below(&name, seed, list);
        }
    }

    /// With incremental lists a name belongs into the list of its directory.
    fn put_below(&mut self, name: &[u8], seed: Seed, list: &mut Vec<Seed>) {
        match name.iter().rposition(|&b| b == b'/') {
            Some(slash) if self.options.compat.inc_recurse() => {
                self.extras.entry(name[..slash].into()).or_default().push(seed);
            }
            _ => list.push(seed),
        }
    }
}

/// The path without `.` between its names and at its end, as texts have it.
fn cleaned(path: Vec<u8>) -> Vec<u8> {
    let mut parts = path.split(|&b| b == b'/').enumerate();
    let kept: Vec<&[u8]> = parts
        .by_ref()
        .filter(|(at, part)| *at == 0 || *part != b".")
        .map(|(_, part)| part)
        .collect();
    kept.join(&b'/')
}

/// The path of a name of `--files-from` without `-R`; a slash at its end says that content is meant.
fn inside(dir: &[u8], name: Vec<u8>) -> Vec<u8> {
    let means_content = name == b"." || name.ends_with(b"/.");
    let mut path = join(dir, &cleaned(name));
    if means_content {
        path.push(b'/');
    }
    path
}

/// Origins among which a repeated one is looked for.
const KNOWN_ORIGINS: usize = 4;

/// The attributes of what is not there.
const NOTHING: Meta = {
    use driftless_tree::Timestamp;
    const NEVER: Timestamp = Timestamp { secs: 0, nanos: 0 };
    Meta {
        kind: Kind::File,
        mode: 0,
        dev: 0,
        ino: 0,
        link_count: 0,
        uid: 0,
        gid: 0,
        size: 0,
        mtime: NEVER,
        atime: NEVER,
        ctime: NEVER,
        rdev: (0, 0),
    }
};
