//! Compares two directory trees by looking at them, with nothing but system calls.
//!
//! Knows nothing of rsync but one habit of a stock daemon without chroot: link texts are stored
//! behind `/rsyncd-munged/` (daemon reference, Identity, chroot, paths, symlinks).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

const MUNGED: &[u8] = b"/rsyncd-munged/";

/// What counts as a difference.
#[derive(Clone, Debug)]
pub struct CompareOptions {
    /// Whether names that are one file on one side must be one file on the other.
    pub hard_links: bool,
    /// Whether users and groups are compared.
    pub owners: bool,
    /// Whether modification times are compared.
    pub times: bool,
    /// Whether times are compared to the nanosecond; protocol 30 carries only whole seconds.
    pub nanoseconds: bool,
    /// Whether the times of the last access of files are compared as modification times are.
    pub access_times: bool,
    /// Whether extended attributes are compared, access control lists among them.
    pub xattrs: bool,
    /// Seconds since the epoch from which on times equal each other: they say when a test ran.
    pub now_from: Option<i64>,
    /// Whether a link text with a stock daemon's prefix equals the one without.
    pub through_munged_links: bool,
    /// Names that are left out on both sides wherever they stand, with all that is below.
    pub excluded: Vec<Vec<u8>>,
}

impl Default for CompareOptions {
    fn default() -> Self {
        Self {
            hard_links: false,
            owners: true,
            times: true,
            nanoseconds: true,
            access_times: false,
            xattrs: false,
            now_from: None,
            through_munged_links: true,
            excluded: Vec::new(),
        }
    }
}

/// What differs between the trees `a` and `b`, one line each; empty means identical.
///
/// The roots themselves are compared too, as `.`; they may be single files.
///
/// # Errors
/// When a tree cannot be read, or changes while it is.
pub fn differences(a: &Path, b: &Path, options: &CompareOptions) -> io::Result<Vec<String>> {
    let (left, right) = (scan(a, options)?, scan(b, options)?);
    let mut found = Vec::new();
    let names: BTreeSet<&Vec<u8>> = left.keys().chain(right.keys()).collect();
    for name in names {
        let shown = shown(name);
        match (left.get(name), right.get(name)) {
            (Some(x), Some(y)) => {
                let (here, there) = (place(a, name), place(b, name));
                for what in entry_differences(&here, x, &there, y, options)? {
                    found.push(format!("{shown}: {what}"));
                }
            }
            (Some(_), None) => found.push(format!("{shown}: only in {}", a.display())),
            (None, _) => found.push(format!("{shown}: only in {}", b.display())),
        }
    }
    if options.hard_links {
        let (x, y) = (link_groups(&left), link_groups(&right));
        for group in x.difference(&y) {
            found.push(format!("{}: one file only in {}", group_shown(group), a.display()));
        }
        for group in y.difference(&x) {
            found.push(format!("{}: one file only in {}", group_shown(group), b.display()));
        }
    }
    Ok(found)
}

/// Names below `root` that look like a stock receiver's temporary files: `.name.XXXXXX`.
///
/// # Errors
/// When the tree cannot be read.
pub fn temporaries(root: &Path) -> io::Result<Vec<String>> {
    let all = scan(root, &CompareOptions::default())?;
    let is_temporary = |path: &[u8]| {
        let name = path.rsplit(|&b| b == b'/').next().unwrap_or(path);
        let mut parts = name.rsplitn(2, |&b| b == b'.');
        let random = parts
            .next()
            .is_some_and(|tail| tail.len() == 6 && tail.iter().all(u8::is_ascii_alphanumeric));
        random && parts.next().is_some_and(|head| head.len() > 1 && head.starts_with(b"."))
    };
    Ok(all.keys().filter(|path| is_temporary(path)).map(|path| shown(path)).collect())
}

/// The relative names of everything below `root`, sorted, the root itself as the empty name.
///
/// # Errors
/// When the tree cannot be read.
pub fn names(root: &Path) -> io::Result<Vec<Vec<u8>>> {
    Ok(scan(root, &CompareOptions::default())?.into_keys().collect())
}

/// Where a name below `root` is. An empty name is the root, without a slash behind it: it may be a
/// file.
fn place(root: &Path, name: &[u8]) -> PathBuf {
    if name.is_empty() { root.to_owned() } else { root.join(os(name)) }
}

fn scan(root: &Path, options: &CompareOptions) -> io::Result<BTreeMap<Vec<u8>, Metadata>> {
    let mut all = BTreeMap::new();
    let mut pending = vec![Vec::new()];
    while let Some(name) = pending.pop() {
        let path = place(root, &name);
        let meta = fs::symlink_metadata(&path).map_err(|e| at(&path, e))?;
        if meta.is_dir() {
            for entry in fs::read_dir(&path).map_err(|e| at(&path, e))? {
                let leaf = entry?.file_name().into_vec();
                if options.excluded.contains(&leaf) {
                    continue;
                }
                let below = if name.is_empty() { leaf } else { [&name[..], b"/", &leaf].concat() };
                pending.push(below);
            }
        }
        all.insert(name, meta);
    }
    Ok(all)
}

fn entry_differences(
    a: &Path,
    x: &Metadata,
    b: &Path,
    y: &Metadata,
    options: &CompareOptions,
) -> io::Result<Vec<String>> {
    let (kind_x, kind_y) = (kind(x), kind(y));
    if kind_x != kind_y {
        return Ok(vec![format!("a {kind_x}, but a {kind_y}")]);
    }
    let mut found = Vec::new();
    let mut number = |what: &str, left: String, right: String| {
        if left != right {
            found.push(format!("{what} {left}, but {right}"));
        }
    };
    if kind_x != "symlink" {
        number("mode", format!("{:o}", x.mode()), format!("{:o}", y.mode()));
    }
    if options.owners {
        number("owner", format!("{}:{}", x.uid(), x.gid()), format!("{}:{}", y.uid(), y.gid()));
    }
    if options.times {
        let time = |m: &Metadata| shown_time(m.mtime(), m.mtime_nsec(), options);
        number("mtime", time(x), time(y));
    }
    if options.access_times && kind_x == "file" {
        let time = |m: &Metadata| shown_time(m.atime(), m.atime_nsec(), options);
        number("atime", time(x), time(y));
    }
    if options.xattrs {
        number("xattrs", xattrs(a)?, xattrs(b)?);
    }
    match kind_x {
        "file" => {
            number("size", x.size().to_string(), y.size().to_string());
            if x.size() == y.size()
                && let Some(offset) = first_different_byte(a, b)?
            {
                found.push(format!("content differs at byte {offset}"));
            }
        }
        "symlink" => {
            let (left, right) = (link_text(a, options)?, link_text(b, options)?);
            number("link to", shown(&left), shown(&right));
        }
        "character device" | "block device" => {
            number("device", x.rdev().to_string(), y.rdev().to_string());
        }
        _ => {}
    }
    Ok(found)
}

fn shown_time(seconds: i64, nanoseconds: i64, options: &CompareOptions) -> String {
    match options.now_from {
        Some(start) if seconds >= start => "now".to_owned(),
        _ if options.nanoseconds => format!("{seconds}.{nanoseconds:09}"),
        _ => seconds.to_string(),
    }
}

/// The extended attributes of `path` itself, sorted by name.
fn xattrs(path: &Path) -> io::Result<String> {
    let read = |call: &dyn Fn(&mut [u8]) -> rustix::io::Result<usize>| {
        let mut bytes = vec![0; 1 << 16];
        let len = call(&mut bytes).map_err(|e| at(path, e.into()))?;
        bytes.truncate(len);
        Ok::<_, io::Error>(bytes)
    };
    let names = read(&|room| rustix::fs::llistxattr(path, room))?;
    let mut found = Vec::new();
    for name in names.split(|&b| b == 0).filter(|name| !name.is_empty()) {
        let value = read(&|room| rustix::fs::lgetxattr(path, name, room))?;
        found.push(format!("{}={}", name.escape_ascii(), value.escape_ascii()));
    }
    found.sort();
    Ok(found.join(" "))
}

fn kind(meta: &Metadata) -> &'static str {
    let kind = meta.file_type();
    match () {
        () if kind.is_file() => "file",
        () if kind.is_dir() => "directory",
        () if kind.is_symlink() => "symlink",
        () if kind.is_fifo() => "FIFO",
        () if kind.is_socket() => "socket",
        () if kind.is_char_device() => "character device",
        () => "block device",
    }
}

fn link_text(path: &Path, options: &CompareOptions) -> io::Result<Vec<u8>> {
    let text = fs::read_link(path).map_err(|e| at(path, e))?.into_os_string().into_vec();
    match text.strip_prefix(MUNGED) {
        Some(original) if options.through_munged_links => Ok(original.to_vec()),
        _ => Ok(text),
    }
}

/// Opens a file so that reading leaves the time of its last access, where the owner allows it: a tree
/// may be compared with several.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags | OFlags::NOATIME, Mode::empty());
    let opened = match opened {
        Err(Errno::PERM) => rustix::fs::open(path, flags, Mode::empty()),
        opened => opened,
    };
    opened.map(File::from).map_err(|e| at(path, e.into()))
}

fn first_different_byte(a: &Path, b: &Path) -> io::Result<Option<u64>> {
    let (mut left, mut right) = (open(a)?, open(b)?);
    let (mut x, mut y) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut offset = 0;
    loop {
        let n = left.read(&mut x)?;
        if n == 0 {
            return Ok(None);
        }
        right.read_exact(&mut y[..n]).map_err(|e| at(b, e))?;
        if x[..n] != y[..n] {
            let inside = x[..n].iter().zip(&y[..n]).take_while(|(p, q)| p == q).count();
            return Ok(Some(offset + inside as u64));
        }
        offset += n as u64;
    }
}

fn link_groups(all: &BTreeMap<Vec<u8>, Metadata>) -> BTreeSet<Vec<&[u8]>> {
    let mut groups: BTreeMap<(u64, u64), Vec<&[u8]>> = BTreeMap::new();
    for (name, meta) in all {
        if meta.is_file() && meta.nlink() > 1 {
            groups.entry((meta.dev(), meta.ino())).or_default().push(name);
        }
    }
    groups.into_values().filter(|names| names.len() > 1).collect()
}

fn group_shown(group: &[&[u8]]) -> String {
    let names: Vec<String> = group.iter().map(|name| shown(name)).collect();
    names.join(" = ")
}

/// A name as it can be printed: everything but plain ASCII is escaped.
pub fn shown(name: &[u8]) -> String {
    if name.is_empty() { ".".to_owned() } else { name.escape_ascii().to_string() }
}

fn os(name: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(name))
}

fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    struct Pair {
        folder: tempfile::TempDir,
    }

    impl Pair {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            for side in ["a", "b"] {
                let root = folder.path().join(side);
                fs::create_dir_all(root.join("d")).unwrap();
                fs::write(root.join("d/f"), "same").unwrap();
                fs::write(root.join("d/g"), "same").unwrap();
            }
            let pair = Self { folder };
            pair.level_times();
            pair
        }

        fn b(&self, name: &str) -> PathBuf {
            self.folder.path().join("b").join(name)
        }

        fn level_times(&self) {
            for name in names(&self.folder.path().join("b")).unwrap() {
                let (a, b) =
                    (self.folder.path().join("a").join(os(&name)), self.b("").join(os(&name)));
                if let Ok(meta) = fs::symlink_metadata(&a) {
                    crate::plant::set_mtime(&b, meta.mtime(), meta.mtime_nsec());
                }
            }
        }

        #[track_caller]
        fn check(&self, expected: &[&str]) {
            let options = CompareOptions { hard_links: true, ..CompareOptions::default() };
            let a = self.folder.path().join("a");
            let found = differences(&a, &self.b(""), &options).unwrap();
            assert_eq!(found.len(), expected.len(), "{found:?}");
            for (line, start) in found.iter().zip(expected) {
                assert!(line.starts_with(start), "{line} does not begin with {start}");
            }
        }
    }

    #[test]
    fn equal_trees_have_no_differences() {
        Pair::new().check(&[]);
    }

    #[test]
    fn comparing_leaves_the_times_of_the_last_access() {
        let pair = Pair::new();
        let meta = fs::metadata(pair.b("d/f")).unwrap();
        let written = (meta.mtime(), meta.mtime_nsec());
        // So long ago that any other reader would move it.
        crate::plant::set_times(&pair.b("d/f"), (1_000_000_000, 0), written);
        pair.check(&[]);
        assert_eq!(fs::metadata(pair.b("d/f")).unwrap().atime(), 1_000_000_000);
    }

    #[test]
    fn single_files_are_compared() {
        let pair = Pair::new();
        let (a, b) = (pair.folder.path().join("a/d/f"), pair.b("d/f"));
        let options = CompareOptions { times: false, ..CompareOptions::default() };
        assert!(differences(&a, &b, &options).unwrap().is_empty());
        fs::write(&b, "SAME").unwrap();
        assert_eq!(differences(&a, &b, &options).unwrap(), [".: content differs at byte 0"]);
    }

    #[test]
    fn one_other_byte_is_found() {
        let pair = Pair::new();
        fs::write(pair.b("d/f"), "sane").unwrap();
        pair.level_times();
        pair.check(&["d/f: content differs at byte 2"]);
    }

    #[test]
    fn a_nanosecond_is_found() {
        let pair = Pair::new();
        let meta = fs::metadata(pair.b("d")).unwrap();
        crate::plant::set_mtime(
            &pair.b("d"),
            meta.mtime(),
            (meta.mtime_nsec() + 1) % 1_000_000_000,
        );
        pair.check(&["d: mtime"]);
    }

    #[test]
    fn another_mode_is_found() {
        let pair = Pair::new();
        fs::set_permissions(pair.b("d/f"), fs::Permissions::from_mode(0o4711)).unwrap();
        pair.check(&["d/f: mode 100644, but 104711"]);
    }

    #[test]
    fn a_missing_and_an_additional_name_are_found() {
        let pair = Pair::new();
        fs::rename(pair.b("d/f"), pair.b("d/h")).unwrap();
        pair.level_times();
        pair.check(&["d/f: only in", "d/h: only in"]);
    }

    #[test]
    fn names_joined_on_one_side_only_are_found() {
        let pair = Pair::new();
        fs::remove_file(pair.b("d/g")).unwrap();
        fs::hard_link(pair.b("d/f"), pair.b("d/g")).unwrap();
        pair.level_times();
        // The two files have one time now, which is one more difference.
        let found = differences(
            &pair.folder.path().join("a"),
            &pair.b(""),
            &CompareOptions { hard_links: true, times: false, ..CompareOptions::default() },
        )
        .unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("d/f = d/g: one file only in"), "{found:?}");
    }

    #[test]
    fn a_munged_link_equals_its_original_and_no_other() {
        let pair = Pair::new();
        symlink("/etc/x", pair.folder.path().join("a/d/f2")).unwrap();
        symlink("/rsyncd-munged//etc/x", pair.b("d/f2")).unwrap();
        pair.level_times();
        pair.check(&[]);
        fs::remove_file(pair.b("d/f2")).unwrap();
        symlink("/rsyncd-munged//etc/y", pair.b("d/f2")).unwrap();
        pair.level_times();
        pair.check(&["d/f2: link to /etc/x, but /etc/y"]);
    }

    #[test]
    fn another_kind_is_found() {
        let pair = Pair::new();
        fs::remove_file(pair.b("d/f")).unwrap();
        crate::stock::make_fifo(&pair.b("d/f"));
        pair.level_times();
        pair.check(&["d/f: a file, but a FIFO"]);
    }

    #[test]
    fn a_receivers_temporary_is_recognised() {
        let pair = Pair::new();
        for name in ["d/.page.html.a1B2c3", "d/.hidden", "d/.x", "d/page.Abcdef"] {
            fs::write(pair.b(name), "").unwrap();
        }
        assert_eq!(temporaries(&pair.b("")).unwrap(), ["d/.page.html.a1B2c3"]);
    }
}
