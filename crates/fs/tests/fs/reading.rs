//! Reading below a root.

use crate::{Place, odd_names, path};
use driftless_fs::{Names, Writers, is_absent};
use driftless_tree::{Kind, Timestamp};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::time::{Duration, UNIX_EPOCH};

#[test]
fn no_link_leads_out_of_a_root() {
    let place = Place::new();
    symlink(place.outside(""), place.tree("absolute")).unwrap();
    symlink("../outside", place.tree("up")).unwrap();
    symlink("../outside/secret", place.tree("file")).unwrap();
    for through in ["absolute/secret", "up/secret"] {
        let through = path(through);
        assert!(is_absent(&place.root.lstat(&through).unwrap_err()));
        assert!(is_absent(&place.root.open_file(&through).unwrap_err()));
        assert!(is_absent(&place.root.read_link(&through).unwrap_err()));
        assert!(is_absent(&place.root.open_dir(Some(&through)).unwrap_err()));
    }
    assert!(is_absent(&place.root.open_file(&path("file")).unwrap_err()));
    let top = place.root.open_dir(None).unwrap();
    for link in ["absolute", "up"] {
        assert!(is_absent(&place.root.open_dir(Some(&path(link))).unwrap_err()));
        assert!(is_absent(&top.open_dir(link.as_bytes()).unwrap_err()));
        assert_eq!(place.root.lstat(&path(link)).unwrap().kind, Kind::Symlink);
    }
    assert_eq!(place.root.read_link(&path("up")).unwrap(), b"../outside");
    assert_eq!(top.read_link(b"up").unwrap(), b"../outside");
}

#[test]
fn a_directory_swapped_for_a_link_is_not_followed() {
    let place = Place::new();
    fs::create_dir(place.tree("d")).unwrap();
    fs::write(place.tree("d/secret"), "ours").unwrap();
    let opened = place.root.open_dir(Some(&path("d"))).unwrap();
    fs::rename(place.tree("d"), place.tree("old")).unwrap();
    symlink("../outside", place.tree("d")).unwrap();
    assert_eq!(opened.lstat(b"secret").unwrap().size, 4, "the open directory is the old one");
    assert!(is_absent(&place.root.open_file(&path("d/secret")).unwrap_err()));
}

#[test]
fn an_entry_name_leads_to_an_entry_or_nowhere() {
    let place = Place::new();
    fs::create_dir_all(place.tree("d/e")).unwrap();
    let dir = place.root.open_dir(Some(&path("d"))).unwrap();
    for name in [&b""[..], b".", b"..", b"../../outside/secret", b"/etc/passwd", b"e/", b"e\0"] {
        assert_eq!(dir.lstat(name).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(dir.open_dir(name).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(dir.read_link(name).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
    assert!(dir.open_dir(b"e").unwrap().entries().unwrap().is_empty());
}

#[test]
fn a_listing_has_every_name_and_its_type_and_can_be_repeated() {
    let place = Place::new();
    let mut expected: Vec<Vec<u8>> = odd_names().into();
    // More than fits in one answer of the kernel.
    expected.extend((0..3000).map(|number| format!("file number {number}").into_bytes()));
    for name in &expected {
        File::create(place.tree("").join(std::ffi::OsStr::from_bytes(name))).unwrap();
    }
    fs::create_dir(place.tree("dir")).unwrap();
    expected.push(b"dir".to_vec());
    expected.sort();
    let dir = place.root.open_dir(None).unwrap();
    for _ in 0..2 {
        let mut entries = dir.entries().unwrap();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        assert!(entries.iter().map(|entry| &entry.name).eq(&expected));
        for entry in entries {
            let kind = dir.lstat(&entry.name).unwrap().kind;
            assert_eq!(kind, if entry.name == b"dir" { Kind::Dir } else { Kind::File });
            assert!(entry.kind.is_none_or(|told| told == kind));
        }
    }
}

#[test]
fn names_come_sorted_with_directories_last_and_memory_is_used_again() {
    let place = Place::new();
    for dir in ["b", "b/z", "a.x"] {
        fs::create_dir(place.tree(dir)).unwrap();
    }
    for number in 0..3000 {
        File::create(place.tree(&format!("b/file {number:04}"))).unwrap();
    }
    File::create(place.tree("c")).unwrap();
    let mut names = Names::default();
    let mut read = |dir: Option<&str>| {
        let dir = dir.map(path);
        names.read(&place.root.open_dir(dir.as_ref()).unwrap()).unwrap();
        names.iter().map(|(name, _)| name.to_vec()).collect::<Vec<_>>()
    };
    let mut inside: Vec<_> = (0..3000).map(|n| format!("file {n:04}").into_bytes()).collect();
    inside.push(b"z".to_vec());
    assert_eq!(read(Some("b")), inside);
    assert_eq!(read(None), [b"c".to_vec(), b"a.x".to_vec(), b"b".to_vec()]);
    assert_eq!(read(Some("b/z")), Vec::<Vec<u8>>::new());
}

#[test]
fn a_file_is_read_with_what_it_is_afterwards() {
    let place = Place::new();
    fs::write(place.tree("f"), "12345").unwrap();
    fs::create_dir(place.tree("dir")).unwrap();
    symlink("f", place.tree("link")).unwrap();
    place.root.mknod(&path("fifo"), 0o010_600, (0, 0)).unwrap();
    let dir = place.root.open_dir(None).unwrap();
    for (len, expected) in [(0, ""), (3, "123"), (5, "12345"), (9, "12345")] {
        let (bytes, meta) = dir.read_file(b"f", len).unwrap();
        assert_eq!(bytes, expected.as_bytes());
        assert_eq!(meta, dir.lstat(b"f").unwrap());
    }
    let opened = dir.open_file(b"f").unwrap();
    let mut bytes = b"before ".to_vec();
    fs::write(place.tree("f"), "1234567").unwrap();
    assert_eq!(opened.read_whole(&mut bytes).unwrap(), 5, "as many as there were");
    assert_eq!(bytes, b"before 12345");
    for other in [&b"dir"[..], b"link", b"fifo", b"none", b"../outside/secret"] {
        assert!(dir.read_file(other, 5).is_err());
        assert!(dir.open_file(other).is_err());
    }
}

#[test]
fn attributes_are_those_of_the_system() {
    let place = Place::new();
    let file = File::create(place.tree("f")).unwrap();
    file.write_all_at(b"12345", 0).unwrap();
    file.set_modified(UNIX_EPOCH - Duration::from_nanos(1_500_000_001)).unwrap();
    fs::hard_link(place.tree("f"), place.tree("g")).unwrap();
    let meta = place.root.lstat(&path("f")).unwrap();
    let known = fs::symlink_metadata(place.tree("f")).unwrap();
    assert_eq!((meta.kind, meta.mode, meta.size), (Kind::File, known.mode(), 5));
    assert_eq!((meta.dev, meta.ino, meta.link_count), (known.dev(), known.ino(), 2));
    assert_eq!((meta.uid, meta.gid, meta.rdev), (known.uid(), known.gid(), (0, 0)));
    assert_eq!(meta.mtime, Timestamp { secs: -2, nanos: 499_999_999 });
    assert_eq!(meta.ctime.secs, known.ctime());
    let source = place.root.open_file(&path("f")).unwrap();
    assert_eq!(source.meta().unwrap(), meta);
    assert_eq!(place.root.open_dir(None).unwrap().lstat(b"f").unwrap(), meta);
}

#[test]
fn only_regular_files_are_opened_and_none_blocks() {
    let place = Place::new();
    fs::create_dir(place.tree("dir")).unwrap();
    place.root.mknod(&path("fifo"), 0o010_600, (0, 0)).unwrap();
    let _socket = UnixListener::bind(place.tree("socket")).unwrap();
    for name in ["dir", "fifo", "socket"] {
        let refused = place.root.open_file(&path(name)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{name}");
    }
    fs::write(place.tree("file"), "content").unwrap();
    let file = place.root.open_file(&path("file")).unwrap();
    let mut buffer = [0; 10];
    assert_eq!(file.read_at(3, &mut buffer).unwrap(), 4);
    assert_eq!(&buffer[..4], b"tent");
    assert_eq!(file.read_at(7, &mut buffer).unwrap(), 0);
}

#[test]
fn a_device_is_reached_through_a_link_only_where_links_are_followed() {
    let place = Place::new();
    std::os::unix::fs::symlink("/dev/null", place.tree("link")).unwrap();
    let dir = place.root.open_dir(None).unwrap();
    assert!(is_absent(&dir.open_device(b"link", false).unwrap_err()));
    assert!(dir.open_device(b"link", true).is_ok());
}

#[test]
fn reading_leaves_the_access_time_alone() {
    let place = Place::new();
    fs::write(place.tree("f"), "content").unwrap();
    let long_ago = fs::FileTimes::new().set_accessed(UNIX_EPOCH + Duration::from_secs(1000));
    File::options().write(true).open(place.tree("f")).unwrap().set_times(long_ago).unwrap();
    let file = place.root.open_file(&path("f")).unwrap();
    assert_eq!(file.read_at(0, &mut [0; 7]).unwrap(), 7);
    assert_eq!(fs::metadata(place.tree("f")).unwrap().atime(), 1000);
}

#[test]
fn open_writers_are_noticed() {
    let place = Place::new();
    fs::write(place.tree("f"), "x").unwrap();
    let source = place.root.open_file(&path("f")).unwrap();
    assert_eq!(source.writers(), Writers::None);
    let writer = OpenOptions::new().append(true).open(place.tree("f")).unwrap();
    assert_eq!(source.writers(), Writers::Some);
    drop(writer);
    assert_eq!(source.writers(), Writers::None);
    // The lease is given back: a writer that does not wait gets in, and no signal ends the process.
    let writer = OpenOptions::new()
        .write(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
        .open(place.tree("f"))
        .unwrap();
    assert_eq!(source.writers(), Writers::Some);
    drop(writer);
    let _reader = File::open(place.tree("f")).unwrap();
    assert_eq!(source.writers(), Writers::None, "readers do not count");
}

#[test]
fn barred_writers_get_in_when_the_file_is_closed() {
    let place = Place::new();
    fs::write(place.tree("f"), "x").unwrap();
    let impatient = || {
        OpenOptions::new()
            .append(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
            .open(place.tree("f"))
    };
    let source = place.root.open_file(&path("f")).unwrap();
    assert_eq!(source.bar_writers(), Writers::None);
    assert_eq!(impatient().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    drop(source);
    let _writer = impatient().unwrap();
    let source = place.root.open_file(&path("f")).unwrap();
    assert_eq!(source.bar_writers(), Writers::Some);
}

#[test]
fn writers_that_collide_with_probes_get_in_and_kill_nobody() {
    let place = Place::new();
    fs::write(place.tree("f"), "x").unwrap();
    let source = place.root.open_file(&path("f")).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..5000 {
                OpenOptions::new().append(true).open(place.tree("f")).unwrap();
            }
        });
        for _ in 0..5000 {
            assert_ne!(source.writers(), Writers::Unknown);
        }
    });
}

#[test]
fn a_root_handle_names_but_does_not_read() {
    let place = Place::new();
    let flags = rustix::fs::fcntl_getfl(place.root.as_fd()).unwrap();
    assert!(flags.contains(rustix::fs::OFlags::PATH));
    assert_eq!(
        rustix::fs::fchmod(place.root.as_fd(), rustix::fs::Mode::RWXU),
        Err(rustix::io::Errno::BADF)
    );
}
