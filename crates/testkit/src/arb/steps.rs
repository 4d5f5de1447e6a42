//! The single changes. Each returns the line for the history.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, XattrFlags};

use super::{Ops, is_plain_dir, is_plain_file};
use crate::plant;

type Step = fn(&mut Ops) -> io::Result<String>;

/// Every step, the common ones more than once.
pub const ALL: &[Step] = &[
    create,
    create,
    create,
    create,
    create,
    chain,
    chain,
    chain,
    move_in,
    move_in,
    append,
    append,
    truncate,
    rewrite,
    rewrite,
    rewrite_hidden,
    replace,
    replace,
    rename,
    rename,
    rename,
    rename_over,
    rename_directory,
    rename_directory,
    move_out,
    delete,
    delete,
    delete_tree,
    chmod,
    chmod,
    chown,
    touch,
    touch,
    make_symlink,
    retarget,
    link,
    link,
    write_through_link,
    fifo,
    turn_into,
    swap,
];

/// Changes of extended attributes and ACLs, see [`Ops::with_attributes`].
pub const ATTRIBUTES: &[Step] = &[set_xattr, remove_xattr, set_acl, remove_acl];

fn content(ops: &mut Ops) -> Vec<u8> {
    let len = match ops.random.u8(0..10) {
        0 => 0,
        1..7 => ops.random.usize(1..300),
        7 | 8 => ops.random.usize(300..20_000),
        _ => ops.random.usize(20_000..400_000),
    };
    plant::noise(ops.random.u64(..), len)
}

fn create(ops: &mut Ops) -> io::Result<String> {
    let (path, bytes) = (ops.place(), content(ops));
    // A name that comes back may be a symbolic link out of the tree, or a FIFO nobody reads.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(true).custom_flags(flags);
    options.open(&path)?.write_all(&bytes)?;
    Ok(ops.say("create", &[&path]))
}

fn append(ops: &mut Ops) -> io::Result<String> {
    let (path, bytes) = (ops.entry(is_plain_file)?, content(ops));
    OpenOptions::new().append(true).open(&path)?.write_all(&bytes)?;
    Ok(ops.say("append", &[&path]))
}

fn truncate(ops: &mut Ops) -> io::Result<String> {
    let path = ops.entry(is_plain_file)?;
    let file = OpenOptions::new().write(true).open(&path)?;
    file.set_len(ops.random.u64(0..=file.metadata()?.len()))?;
    Ok(ops.say("truncate", &[&path]))
}

/// The same size twice within one second, in place.
fn rewrite(ops: &mut Ops) -> io::Result<String> {
    let path = ops.entry(is_plain_file)?;
    let len = usize::try_from(fs::metadata(&path)?.len()).unwrap_or(0);
    for _ in 0..2 {
        let before = fs::metadata(&path)?;
        overwrite(&path, &plant::noise(ops.random.u64(..), len))?;
        let now = fs::metadata(&path)?;
        let time = |meta: &fs::Metadata| (meta.mtime(), meta.mtime_nsec());
        if !ops.hidden_edits && time(&now) == time(&before) {
            // Within one tick of the kernel's clock the edit shows in neither size nor time.
            plant::set_mtime(&path, now.mtime(), (now.mtime_nsec() + 1) % 1_000_000_000);
        }
    }
    Ok(ops.say("rewrite", &[&path]))
}

/// The same size, and the time set back to what it was.
fn rewrite_hidden(ops: &mut Ops) -> io::Result<String> {
    if !ops.hidden_edits {
        return rewrite(ops);
    }
    let path = ops.entry(is_plain_file)?;
    let meta = fs::metadata(&path)?;
    let len = usize::try_from(meta.len()).unwrap_or(0);
    overwrite(&path, &plant::noise(ops.random.u64(..), len))?;
    plant::set_mtime(&path, meta.mtime(), meta.mtime_nsec());
    Ok(ops.say("rewrite-hidden", &[&path]))
}

fn overwrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(bytes)
}

/// As editors save: a temporary beside it, then a rename over it.
fn replace(ops: &mut Ops) -> io::Result<String> {
    let (path, bytes) = (ops.entry(is_plain_file)?, content(ops));
    let temporary = path.with_file_name(format!("save{}.tmp", ops.serial));
    fs::write(&temporary, bytes)?;
    fs::rename(&temporary, &path)?;
    Ok(ops.say("replace", &[&path]))
}

fn rename(ops: &mut Ops) -> io::Result<String> {
    let (from, to) = (ops.entry(|path| !is_plain_dir(path))?, ops.place());
    fs::rename(&from, &to)?;
    Ok(ops.say("rename", &[&from, &to]))
}

fn rename_over(ops: &mut Ops) -> io::Result<String> {
    let (from, to) = (ops.entry(is_plain_file)?, ops.entry(|path| !is_plain_dir(path))?);
    fs::rename(&from, &to)?;
    Ok(ops.say("rename-over", &[&from, &to]))
}

fn rename_directory(ops: &mut Ops) -> io::Result<String> {
    let (from, to) = (ops.entry(is_plain_dir)?, ops.place());
    fs::rename(&from, &to)?;
    Ok(ops.say("rename-directory", &[&from, &to]))
}

/// Two names change places through a third, which may be faster than any watcher looks.
fn swap(ops: &mut Ops) -> io::Result<String> {
    let (a, b) = (ops.entry(is_plain_file)?, ops.entry(is_plain_file)?);
    let third = a.with_file_name(format!("swap{}.tmp", ops.serial));
    fs::rename(&a, &third)?;
    if a != b {
        fs::rename(&b, &a)?;
    }
    fs::rename(&third, &b)?;
    Ok(ops.say("swap", &[&a, &b]))
}

/// A tree made outside arrives in one rename.
fn move_in(ops: &mut Ops) -> io::Result<String> {
    ops.serial += 1;
    let made = ops.outside.join(format!("made{}", ops.serial));
    fs::create_dir_all(made.join("deep/er"))?;
    for place in ["one", "deep/two", "deep/er/three", "deep/er/four"] {
        let bytes = content(ops);
        fs::write(made.join(place), bytes)?;
    }
    fs::hard_link(made.join("one"), made.join("deep/uno"))?;
    let (from, to) =
        if ops.random.bool() { (made.join("deep"), ops.place()) } else { (made, ops.place()) };
    fs::rename(&from, &to)?;
    Ok(ops.say("move-in", &[&to]))
}

/// Something leaves the tree for the folder outside; some of it comes back later.
fn move_out(ops: &mut Ops) -> io::Result<String> {
    if ops.random.u8(..) < 80
        && let Some(from) = ops.random.choice(super::sorted(&ops.outside))
    {
        let to = ops.place();
        fs::rename(&from, &to)?;
        return Ok(ops.say("move-back", &[&from, &to]));
    }
    let from = ops.entry(|_| true)?;
    ops.serial += 1;
    let to = ops.outside.join(format!("gone{}", ops.serial));
    fs::rename(&from, &to)?;
    Ok(ops.say("move-out", &[&from, &to]))
}

fn delete(ops: &mut Ops) -> io::Result<String> {
    let path = ops.entry(|path| !is_plain_dir(path))?;
    fs::remove_file(&path)?;
    Ok(ops.say("delete", &[&path]))
}

fn delete_tree(ops: &mut Ops) -> io::Result<String> {
    let path = ops.entry(is_plain_dir)?;
    fs::remove_dir_all(&path)?;
    Ok(ops.say("delete-tree", &[&path]))
}

fn chmod(ops: &mut Ops) -> io::Result<String> {
    let path = ops.entry(|path| is_plain_dir(path) || is_plain_file(path))?;
    let bits = [0o600, 0o644, 0o755, 0o4755, 0o2775, 0o1777, 0o444, 0o700];
    let mode = ops.random.choice(bits).expect("the list is not empty");
    fs::set_permissions(&path, Permissions::from_mode(mode))?;
    Ok(format!("{} {mode:o}", ops.say("chmod", &[&path])))
}

fn set_xattr(ops: &mut Ops) -> io::Result<String> {
    let path = ops.entry(|_| true)?;
    let has_user_names = is_plain_dir(&path) || is_plain_file(&path);
    let space = if has_user_names && ops.random.bool() { "user" } else { "trusted" };
    let name = format!("{space}.test{}", ops.random.u8(..3));
    // Up to 32 bytes travel in the file list, longer values on demand.
    let len = ops.random.choice([0, 5, 32, 33, 500]).expect("the list is not empty");
    let value = plant::noise(ops.random.u64(..), len);
    rustix::fs::lsetxattr(&path, &name, &value, XattrFlags::empty())?;
    Ok(format!("{} {name} {len}", ops.say("set-xattr", &[&path])))
}

fn remove_xattr(ops: &mut Ops) -> io::Result<String> {
    let names = |path: &Path| {
        let mut names = vec![0; 4096];
        let len = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
        let names = names[..len].split(|&byte| byte == 0).filter(|name| !name.is_empty());
        names.map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    let path = ops.entry(|_| true)?;
    let name = ops.random.choice(names(&path));
    let name = name.ok_or_else(|| io::Error::other("there are none"))?;
    rustix::fs::lremovexattr(&path, &*name)?;
    Ok(format!("{} {}", ops.say("remove-xattr", &[&path]), name.escape_ascii()))
}

fn set_acl(ops: &mut Ops) -> io::Result<String> {
    let path = ops.entry(|path| is_plain_dir(path) || is_plain_file(path))?;
    let name = match is_plain_dir(&path) && ops.random.bool() {
        true => "system.posix_acl_default",
        false => "system.posix_acl_access",
    };
    // Owner, a user, the group, the mask and others (`acl(5)`, `linux/posix_acl_xattr.h`).
    let entries = [(1, u32::MAX), (2, ops.random.u32(1..9)), (4, u32::MAX), (16, u32::MAX)];
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, id) in entries.into_iter().chain([(32, u32::MAX)]) {
        value.extend_from_slice(&u16::to_le_bytes(tag));
        value.extend_from_slice(&ops.random.u16(..8).to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    rustix::fs::lsetxattr(&path, name, &value, XattrFlags::empty())?;
    Ok(format!("{} {name}", ops.say("set-acl", &[&path])))
}

fn remove_acl(ops: &mut Ops) -> io::Result<String> {
    let path = ops.entry(is_plain_dir)?;
    rustix::fs::lremovexattr(&path, "system.posix_acl_default")?;
    Ok(ops.say("remove-acl", &[&path]))
}

fn chown(ops: &mut Ops) -> io::Result<String> {
    let path = ops.entry(|_| true)?;
    let (user, group) = (ops.random.u32(0..5), ops.random.u32(0..5) * 10_001);
    lchown(&path, Some(user), Some(group))?;
    Ok(format!("{} {user}:{group}", ops.say("chown", &[&path])))
}

fn touch(ops: &mut Ops) -> io::Result<String> {
    let path = ops.entry(|_| true)?;
    let seconds = ops.random.i64(0..1_900_000_000);
    let nanoseconds = if ops.random.bool() { 0 } else { ops.random.i64(0..1_000_000_000) };
    if ops.random.u8(..) < 60 {
        plant::set_mtime_alone(&path, seconds, nanoseconds);
    } else {
        plant::set_mtime(&path, seconds, nanoseconds);
    }
    Ok(ops.say("touch", &[&path]))
}

fn symlink_text(ops: &mut Ops) -> PathBuf {
    match ops.random.u8(0..4) {
        0 => PathBuf::from("/nowhere/absolute"),
        1 => PathBuf::from(format!("nothing{}", ops.random.u8(..))),
        2 => PathBuf::from("../../../up"),
        _ => ops
            .entry(|_| true)
            .ok()
            .and_then(|path| path.file_name().map(PathBuf::from))
            .unwrap_or_else(|| PathBuf::from(".")),
    }
}

fn make_symlink(ops: &mut Ops) -> io::Result<String> {
    let (path, text) = (ops.place(), symlink_text(ops));
    symlink(text, &path)?;
    Ok(ops.say("symlink", &[&path]))
}

fn retarget(ops: &mut Ops) -> io::Result<String> {
    let path = ops.entry(Path::is_symlink)?;
    let text = symlink_text(ops);
    fs::remove_file(&path)?;
    symlink(text, &path)?;
    Ok(ops.say("retarget", &[&path]))
}

fn link(ops: &mut Ops) -> io::Result<String> {
    let (from, to) = (ops.entry(is_plain_file)?, ops.place());
    fs::hard_link(&from, &to)?;
    Ok(ops.say("link", &[&from, &to]))
}

fn write_through_link(ops: &mut Ops) -> io::Result<String> {
    let linked =
        |path: &Path| is_plain_file(path) && fs::metadata(path).is_ok_and(|m| m.nlink() > 1);
    let (path, bytes) = (ops.entry(linked)?, content(ops));
    fs::write(&path, bytes)?;
    Ok(ops.say("write-through-link", &[&path]))
}

fn fifo(ops: &mut Ops) -> io::Result<String> {
    let path = ops.place();
    if path.symlink_metadata().is_ok() {
        return Err(io::Error::other("the place is taken"));
    }
    crate::stock::make_fifo(&path);
    Ok(ops.say("fifo", &[&path]))
}

/// A chain of new folders with files at once in each: the race with the arming of watches.
fn chain(ops: &mut Ops) -> io::Result<String> {
    ops.serial += 1;
    let top = ops.directory().join(format!("chain{}", ops.serial));
    let mut at = top.clone();
    for depth in 0..ops.random.usize(1..6) {
        at = at.join(format!("c{depth}"));
        fs::create_dir_all(&at)?;
        for file in 0..ops.random.usize(0..4) {
            let bytes = content(ops);
            File::create(at.join(format!("x{file}")))?.write_all(&bytes)?;
        }
    }
    Ok(ops.say("chain", &[&top]))
}

/// A name becomes a thing of another kind.
fn turn_into(ops: &mut Ops) -> io::Result<String> {
    let path = ops.entry(|_| true)?;
    if is_plain_dir(&path) {
        fs::remove_dir_all(&path)?;
    } else {
        fs::remove_file(&path)?;
    }
    let kind = match ops.random.u8(0..4) {
        0 => {
            fs::create_dir(&path)?;
            let bytes = content(ops);
            fs::write(path.join("inside"), bytes)?;
            "directory"
        }
        1 => {
            symlink(symlink_text(ops), &path)?;
            "symlink"
        }
        2 => {
            crate::stock::make_fifo(&path);
            "fifo"
        }
        _ => {
            let bytes = content(ops);
            fs::write(&path, bytes)?;
            "file"
        }
    };
    Ok(format!("{} {kind}", ops.say("turn-into", &[&path])))
}
