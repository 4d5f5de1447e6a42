//! A client's paths inside a module. Daemon reference, "Sanitising".

use driftless_filter::matches_wildcard;
use driftless_fs::Root;
use driftless_transfer::module::{Dots, bounded};
use driftless_tree::RelPath;

/// Names that one pattern may stand for, at most.
const MAX_MATCHES: usize = 100_000;

/// A path without a slash in front, `.` and empty components, and with as many `..` as there are
/// directories to leave: those in it, and `depth` above it.
pub(crate) fn sanitized(path: &[u8], depth: usize) -> Vec<u8> {
    let parts = bounded(path, depth, Dots::Kept);
    let mut clean = parts.join(&b'/');
    let means_content = path.ends_with(b"/") || path.ends_with(b"/.") || path.ends_with(b"/..");
    if clean.is_empty() {
        clean =
            if means_content || path.starts_with(b"/") { b"./".to_vec() } else { b".".to_vec() };
    } else if means_content && !clean.ends_with(b"/") {
        clean.push(b'/');
    }
    clean
}

/// The path of an option: one with a slash in front starts at the module.
pub(crate) fn option_path(path: &[u8], module: &[u8], depth: usize) -> Vec<u8> {
    match path {
        [b'/', ..] => {
            let inside = sanitized(path, 0);
            let inside = inside.strip_prefix(b"./").unwrap_or(&inside);
            [module, b"/", inside].concat()
        }
        _ => sanitized(path, depth),
    }
}

/// The words of an argument of a client that does not keep blanks apart: each begins with the
/// module's name, which is taken off.
pub(crate) fn words(arg: &[u8], module: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = arg;
    let split = [b" ", module, b"/"].concat();
    while let Some(at) = rest.windows(split.len()).position(|window| window == split) {
        words.push(without_module(&rest[..at], module));
        rest = &rest[at + 1..];
    }
    words.push(without_module(rest, module));
    words
}

/// A path without the name of the module in front.
pub(crate) fn without_module(path: &[u8], module: &[u8]) -> Vec<u8> {
    match path.strip_prefix(module) {
        Some(b"") => b".".to_vec(),
        Some(b"/") => b"./".to_vec(),
        Some([b'/', rest @ ..]) => rest.to_vec(),
        _ => path.to_vec(),
    }
}

/// What a pattern stands for below the module; itself when it matches nothing. Names that begin
/// with a dot match only a pattern that does.
pub(crate) fn globbed(pattern: &[u8]) -> Vec<Vec<u8>> {
    if !pattern.iter().any(|b| b"*?[".contains(b)) {
        return vec![pattern.to_vec()];
    }
    let (body, slash) = match pattern.strip_suffix(b"/") {
        Some(body) => (body, &b"/"[..]),
        None => (pattern, &b""[..]),
    };
    let absolute = body.starts_with(b"/");
    let mut found: Vec<Vec<u8>> = vec![if absolute { b"/".to_vec() } else { Vec::new() }];
    for part in body.split(|b| *b == b'/').filter(|part| !part.is_empty()) {
        let mut next = Vec::new();
        for dir in &found {
            let join = |name: &[u8]| match dir.last() {
                None | Some(b'/') => [dir, name].concat(),
                Some(_) => [dir, &b"/"[..], name].concat(),
            };
            if !part.iter().any(|b| b"*?[".contains(b)) {
                next.push(join(part));
                continue;
            }
            let mut names = names_in(dir);
            names.retain(|name| {
                (name[0] != b'.' || part[0] == b'.') && matches_wildcard(part, name)
            });
            names.sort();
            next.extend(names.iter().map(|name| join(name)));
            if next.len() > MAX_MATCHES {
                return vec![pattern.to_vec()];
            }
        }
        found = next;
    }
    found.retain(|path| exists(path));
    match found.is_empty() {
        true => vec![pattern.to_vec()],
        false => found.into_iter().map(|path| [&path[..], slash].concat()).collect(),
    }
}

fn names_in(dir: &[u8]) -> Vec<Vec<u8>> {
    let path = if dir.is_empty() { b"." } else { dir };
    let opened = Root::open(path_of(path)).ok().and_then(|root| root.open_dir(None).ok());
    let entries = opened.and_then(|dir| dir.entries().ok()).unwrap_or_default();
    entries.into_iter().map(|entry| entry.name).collect()
}

fn exists(path: &[u8]) -> bool {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => {
            let root = Root::open(path_of(if at == 0 { b"/" } else { &path[..at] }));
            let leaf = RelPath::parse(&path[at + 1..]);
            matches!((root, leaf), (Ok(root), Ok(leaf)) if root.lstat(&leaf).is_ok())
        }
        None => matches!(
            (Root::open(path_of(b".")), RelPath::parse(path)),
            (Ok(root), Ok(leaf)) if root.lstat(&leaf).is_ok()
        ),
    }
}

fn path_of(path: &[u8]) -> &std::path::Path {
    use std::os::unix::ffi::OsStrExt;
    std::path::Path::new(std::ffi::OsStr::from_bytes(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        for (path, depth, clean) in [
            ("../m2/", 0, "m2/"),
            ("/etc/", 0, "etc/"),
            ("/", 0, "./"),
            ("a/../../b", 0, "b"),
            ("a//./b", 0, "a/./b"),
            ("./a", 0, "a"),
            ("..", 0, "."),
            ("../x", 1, "../x"),
            ("../../x", 1, "../x"),
            ("a/..", 0, "./"),
        ] {
            let found = sanitized(path.as_bytes(), depth);
            assert_eq!(String::from_utf8_lossy(&found), clean, "{path}");
        }
        assert_eq!(option_path(b"/x/../../y", b"/srv/m", 2), b"/srv/m/y");
        assert_eq!(option_path(b"../../../y", b"/srv/m", 1), b"../y");
    }

    #[test]
    fn arguments_lose_the_name_of_the_module() {
        let words = |arg: &str| -> Vec<String> {
            let found = super::words(arg.as_bytes(), b"m");
            found.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect()
        };
        assert_eq!(words("m/a b m/c"), ["a b", "c"]);
        assert_eq!(words("m"), ["."]);
        assert_eq!(words("m/"), ["./"]);
        assert_eq!(words("other/x"), ["other/x"]);
    }
}
