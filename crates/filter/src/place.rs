//! Where a file that a rule names lies: relative to the root where it is inside, else absolute.
//!
//! Everything is decided on the text of the paths; nothing here looks at the disk.

/// A slash-separated path with `.`, `..` and doubled slashes resolved; always absolute.
pub(crate) fn normalize(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    let mut out = Vec::with_capacity(path.len() + 1);
    for part in &parts {
        out.push(b'/');
        out.extend_from_slice(part);
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out
}

/// `name` in the directory `dir`; `name` itself when it is absolute.
pub(crate) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if name.starts_with(b"/") || dir.is_empty() {
        return name.to_vec();
    }
    let mut out = dir.to_vec();
    if !out.ends_with(b"/") {
        out.push(b'/');
    }
    out.extend_from_slice(name);
    out
}

/// What lies below the directory `dir` on the absolute path `path`, both normalized; `None` when
/// it is neither below it nor it.
pub(crate) fn below<'p>(path: &'p [u8], dir: &[u8]) -> Option<&'p [u8]> {
    if dir == b"/" {
        return path.strip_prefix(b"/");
    }
    match path.strip_prefix(dir)? {
        b"" => Some(b""),
        rest => rest.strip_prefix(b"/"),
    }
}

/// The last component.
pub(crate) fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&b| b == b'/').next().unwrap_or(path)
}
