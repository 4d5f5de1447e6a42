//! What source arguments mean: where their names come from, and what the names are.

use crate::sender::scan::disk::join;

/// One source argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Argument {
    /// The directory that holds what is listed; never empty.
    pub(crate) base: Vec<u8>,
    /// What is listed in it; `None`: the directory itself.
    pub(crate) leaf: Option<Vec<u8>>,
    /// What names of the lists have in front of names in `base`; empty for nothing.
    pub(crate) prefix: Vec<u8>,
    /// The directory that `prefix` begins in: the transfer's root.
    pub(crate) root: Vec<u8>,
    /// The directories of `prefix`, and of the argument, that are listed because it is: the names.
    pub(crate) parents: Vec<Vec<u8>>,
}

impl Argument {
    /// The name in the lists.
    pub(crate) fn name(&self) -> Vec<u8> {
        match &self.leaf {
            Some(leaf) => join(&self.prefix, leaf),
            None if self.prefix.is_empty() => b".".to_vec(),
            None => self.prefix.clone(),
        }
    }

    /// The transfer's root for reports: as it was given, empty for the working directory; below
    /// `entered` without that.
    pub(crate) fn shown_root(&self, entered: &[u8]) -> Vec<u8> {
        let root = match self.root.strip_prefix(entered) {
            Some(rest) if !entered.is_empty() => rest.strip_prefix(b"/").unwrap_or(rest),
            _ => &self.root,
        };
        if root == b"." { Vec::new() } else { trim_slashes(root).to_vec() }
    }

    /// With the directory itself as the name: what a slash follows may be no directory.
    pub(crate) fn as_name(&self) -> Self {
        let slash = self.prefix.iter().rposition(|&b| b == b'/');
        let leaf = self.prefix[slash.map_or(0, |at| at + 1)..].to_vec();
        let prefix = self.prefix[..slash.unwrap_or(0)].to_vec();
        let base = if prefix.is_empty() { self.root.clone() } else { join(&self.root, &prefix) };
        Self { base, leaf: Some(leaf), prefix, ..self.clone() }
    }

    /// The path on the disk.
    pub(crate) fn path(&self) -> Vec<u8> {
        match &self.leaf {
            Some(leaf) => join(&self.base, leaf),
            None => self.base.clone(),
        }
    }
}

/// An argument with `-R` and an active `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DotDot;

/// Reads an argument without `-R`: its last component is the name, and a directory whose content is
/// meant (`dir/`, `dir/.`, `..`) is the root.
pub(crate) fn plain(arg: &[u8]) -> Argument {
    let trimmed = trim_slashes(arg);
    let last = trimmed.rsplit(|&b| b == b'/').next().unwrap_or_default();
    let is_content = arg.ends_with(b"/") || matches!(last, b"" | b"." | b"..");
    let (base, leaf) = if is_content {
        let dir = trimmed.strip_suffix(b"/.").map(|dir| if dir.is_empty() { b"/" } else { dir });
        (trim_slashes(dir.unwrap_or(trimmed)).to_vec(), None)
    } else {
        let dir = &trimmed[..trimmed.len() - last.len()];
        (trim_slashes(dir).to_vec(), Some(last.to_vec()))
    };
    let base = if base.is_empty() { b".".to_vec() } else { base };
    Argument { root: base.clone(), base, leaf, prefix: Vec::new(), parents: Vec::new() }
}

/// Reads an argument with `-R`, in the directory `within`: all of it is the name, or what follows
/// the first `/./`.
pub(crate) fn relative(arg: &[u8], within: &[u8]) -> Result<Argument, DotDot> {
    let (dir, rest) = match find(arg, b"/./") {
        Some(at) => (&arg[..at.max(1)], &arg[at + 3..]),
        None if arg.starts_with(b"/") => (&b"/"[..], arg),
        None => (&b""[..], arg),
    };
    let root = match dir.starts_with(b"/") {
        true => dir.to_vec(),
        false => join(within, dir),
    };
    let root = if root.is_empty() { b".".to_vec() } else { root };
    let parts: Vec<&[u8]> =
        rest.split(|&b| b == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    if parts.contains(&&b".."[..]) {
        return Err(DotDot);
    }
    let is_content = parts.is_empty() || rest.ends_with(b"/") || rest.ends_with(b"/.");
    let known = if is_content { parts.len() } else { parts.len() - 1 };
    let prefix = parts[..known].join(&b'/');
    // A dot in front is kept as a directory of the transfer.
    let dot = (rest.starts_with(b"./") && rest != b"./").then(|| b".".to_vec());
    let above = (1..parts.len()).map(|count| parts[..count].join(&b'/'));
    let parents = dot.into_iter().chain(above).collect();
    let leaf = if is_content { None } else { parts.last().map(|leaf| leaf.to_vec()) };
    let base = if prefix.is_empty() { root.clone() } else { join(&root, &prefix) };
    Ok(Argument { base, leaf, prefix, root, parents })
}

/// A name of `--files-from`: without slashes at its start, and with `..` taken back as far as it
/// goes.
pub(crate) fn sanitized(name: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|&b| b == b'/') {
        match part {
            b"" => {}
            b".." => {
                // A `.` marks where the name begins and is no directory to go back from.
                while parts.pop() == Some(b".") {}
            }
            part => parts.push(part),
        }
    }
    let mut clean = parts.join(&b'/');
    if clean.is_empty() {
        clean.push(b'.');
    }
    let means_content = name.ends_with(b"/") || name.ends_with(b"/.");
    if means_content && !clean.ends_with(b"/.") && clean != b"." {
        clean.push(b'/');
    }
    clean
}

pub(crate) fn trim_slashes(path: &[u8]) -> &[u8] {
    let mut path = path;
    while path.len() > 1 {
        match path.strip_suffix(b"/") {
            Some(shorter) => path = shorter,
            None => break,
        }
    }
    path
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(argument: &Argument, base: &str, name: &str, parents: &[&str]) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        assert_eq!((text(&argument.base).as_str(), text(&argument.name()).as_str()), (base, name));
        let found: Vec<String> = argument.parents.iter().map(|parent| text(parent)).collect();
        assert_eq!(found, parents);
    }

    #[test]
    fn an_argument_gives_its_last_component_or_its_content() {
        check(&plain(b"a/b/f"), "a/b", "f", &[]);
        check(&plain(b"f"), ".", "f", &[]);
        check(&plain(b"/f"), "/", "f", &[]);
        check(&plain(b"dir/"), "dir", ".", &[]);
        check(&plain(b"dir//"), "dir", ".", &[]);
        check(&plain(b"dir/."), "dir", ".", &[]);
        check(&plain(b".."), "..", ".", &[]);
        check(&plain(b"/"), "/", ".", &[]);
        check(&plain(b"/."), "/", ".", &[]);
        check(&plain(b""), ".", ".", &[]);
    }

    #[test]
    fn a_relative_argument_keeps_its_whole_path() {
        check(&relative(b"a/b/f", b"").unwrap(), "a/b", "a/b/f", &["a", "a/b"]);
        check(&relative(b"a//./b/f", b"").unwrap(), "a/b", "b/f", &["b"]);
        check(&relative(b"/a/b", b"").unwrap(), "/a", "a/b", &["a"]);
        check(&relative(b"x/./a/b/", b"").unwrap(), "x/a/b", "a/b", &["a"]);
        check(&relative(b"x/./", b"").unwrap(), "x", ".", &[]);
        check(&relative(b"./a", b"").unwrap(), ".", "a", &["."]);
        check(&relative(b"./.", b"").unwrap(), ".", ".", &["."]);
        check(&relative(b"./", b"").unwrap(), ".", ".", &[]);
        check(&relative(b"d/e", b"/src").unwrap(), "/src/d", "d/e", &["d"]);
        assert_eq!(relative(b"a/../b", b""), Err(DotDot));
    }

    #[test]
    fn a_name_with_a_slash_may_be_one_without() {
        check(&relative(b"a/b/", b"").unwrap().as_name(), "a", "a/b", &["a"]);
        check(&relative(b"x/./b/", b"").unwrap().as_name(), "x", "b", &[]);
    }

    #[test]
    fn a_name_in_a_file_stays_below_the_source() {
        for (name, clean) in [
            ("/a/b", "a/b"),
            ("../x", "x"),
            ("a/../../b/", "b/"),
            ("./a", "./a"),
            ("a//b", "a/b"),
            ("a/./b", "a/./b"),
            (".", "."),
            ("/", "."),
        ] {
            assert_eq!(sanitized(name.as_bytes()), clean.as_bytes(), "{name}");
        }
    }
}
