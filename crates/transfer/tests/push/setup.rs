//! Handshakes, negotiation, and how sessions fail.

use std::fs;
use std::time::{Duration, Instant};

use driftless_transfer::options::{ChecksumKind, CompressChoice};
use driftless_transfer::{ListPush, PushError, TransferOptions, TreePush, push_list};
use driftless_tree::flist::Entry;

use crate::daemon::{Daemon, options};
use crate::tree::{Recorder, plant, push};

/// Two versions of a tree through one daemon: everything new, then a delta, then nothing.
#[track_caller]
fn check(daemon: &Daemon, options: &TransferOptions) {
    for name in fs::read_dir(daemon.module()).unwrap() {
        let path = name.unwrap().path();
        let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
    }
    let source = tempfile::tempdir().unwrap();
    plant(source.path());
    let tree = || TreePush { delete: true, ..TreePush::default() };
    push(daemon, source.path(), options, tree());
    daemon.assert_same(source.path());
    let big = source.path().join("a/b/c/big");
    let mut content = fs::read(&big).unwrap();
    content.splice(300_000..300_010, *b"inserted text, longer");
    content.extend_from_slice(b"a tail");
    fs::write(&big, &content).unwrap();
    let outcome = push(daemon, source.path(), options, tree());
    assert!(outcome.matched_bytes > 600_000, "{outcome:?}");
    daemon.assert_same(source.path());
    let outcome = push(daemon, source.path(), options, tree());
    assert_eq!(outcome.transferred_count, 0);
}

#[test]
fn all_protocols_agree() {
    let daemon = Daemon::start("");
    for protocol in 30..=32 {
        // Protocol 30 has no nanoseconds.
        let modify_window = if protocol == 30 { 0 } else { -1 };
        let options = TransferOptions { protocol, modify_window, ..options() };
        if protocol == 30 {
            let source = tempfile::tempdir().unwrap();
            plant(source.path());
            let tree = TreePush { delete: true, ..TreePush::default() };
            push(&daemon, source.path(), &options, tree.clone());
            assert_eq!(push(&daemon, source.path(), &options, tree).transferred_count, 0);
        } else {
            check(&daemon, &options);
        }
    }
}

#[test]
fn all_checksums_agree() {
    let daemon = Daemon::start("");
    for kind in ChecksumKind::ORDER {
        if kind != ChecksumKind::None {
            check(&daemon, &TransferOptions { checksum_choice: Some(kind), ..options() });
        }
    }
    check(&daemon, &TransferOptions { checksum_seed: Some(-3), ..options() });
}

#[test]
fn all_compressions_agree() {
    let daemon = Daemon::start("");
    for compress in [
        CompressChoice::Negotiate,
        CompressChoice::Zstd,
        CompressChoice::Lz4,
        CompressChoice::Zlibx,
        CompressChoice::Zlib,
    ] {
        check(&daemon, &TransferOptions { compress, ..options() });
    }
}

#[test]
fn a_chrooted_module_with_a_timeout_serves_as_well() {
    let daemon = Daemon::start("use chroot = yes\ntimeout = 30");
    check(&daemon, &TransferOptions { timeout: None, ..options() });
}

#[test]
fn a_password_opens_a_module() {
    let secrets = tempfile::NamedTempFile::new().unwrap();
    fs::write(secrets.path(), "alice:s3cret\n").unwrap();
    let lines = format!("auth users = alice\nsecrets file = {}", secrets.path().display());
    let daemon = Daemon::start(&lines);
    let source = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::new(source.path());
    let mut peer = daemon.peer();
    let mut attempt = |peer: &_| {
        let result = push_list(peer, &options(), ListPush::default(), &mut recorder);
        result.map_err(|failure| failure.error)
    };
    peer.url.user = Some("alice".to_owned());
    assert!(matches!(attempt(&peer), Err(PushError::NoPassword { .. })));
    peer.password = Some(b"wrong".to_vec().into());
    assert!(matches!(attempt(&peer), Err(PushError::AuthFailed { .. })));
    // The verdict is heard although a long list was on its way.
    let gone = |at: u32| Entry { name: at.to_string().into_bytes().into(), ..Entry::default() };
    let entries = (0..100_000).map(gone).collect();
    let mut own = Recorder::new(source.path());
    let long = ListPush { entries, missing_args: true, ..ListPush::default() };
    let error = push_list(&peer, &options(), long, &mut own).unwrap_err().error;
    assert!(matches!(error, PushError::AuthFailed { .. }), "{error:?}");
    peer.password = Some(b"s3cret".to_vec().into());
    assert!(attempt(&peer).unwrap().clean_end);
}

#[track_caller]
fn failure(daemon: &Daemon, push: ListPush) -> PushError {
    let source = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::new(source.path());
    push_list(&daemon.peer(), &options(), push, &mut recorder).unwrap_err().error
}

#[test]
fn refusals_say_who_must_act() {
    let daemon = Daemon::start("refuse options = delete");
    let error = failure(&daemon, ListPush { missing_args: true, ..ListPush::default() });
    let PushError::Refused { option, .. } = &error else { panic!("{error:?}") };
    assert_eq!(option, "--delete");
    assert_eq!(error.exit_code(), 4);

    let daemon = Daemon::start("read only = yes");
    let error = failure(&daemon, ListPush::default());
    assert!(matches!(error, PushError::ReadOnly), "{error:?}");

    let daemon = Daemon::start("max connections = -1");
    let error = failure(&daemon, ListPush::default());
    assert!(matches!(error, PushError::MaxConnections { .. }), "{error:?}");

    let mut peer = daemon.peer();
    peer.url.module = "other".to_owned();
    let mut recorder = Recorder::new(daemon.dir());
    let error = push_list(&peer, &options(), ListPush::default(), &mut recorder).unwrap_err().error;
    let PushError::Daemon { text } = &error else { panic!("{error:?}") };
    assert_eq!(text, b"Unknown module 'other'");

    drop(daemon);
    let error = push_list(&peer, &options(), ListPush::default(), &mut recorder).unwrap_err().error;
    assert!(matches!(error, PushError::Connect { .. }), "{error:?}");
}

#[test]
fn the_message_of_the_day_is_handed_on() {
    let motd = tempfile::NamedTempFile::new().unwrap();
    fs::write(motd.path(), "hello\nthere\n").unwrap();
    let daemon = Daemon::start_with(&format!("motd file = {}", motd.path().display()), "");
    let mut recorder = Recorder::new(daemon.dir());
    push_list(&daemon.peer(), &options(), ListPush::default(), &mut recorder).unwrap();
    let texts: Vec<_> = recorder.texts.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["hello", "there", ""]);
}

#[test]
fn a_limit_on_bandwidth_holds() {
    let daemon = Daemon::start("");
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("f"), vec![7; 300_000]).unwrap();
    let started = Instant::now();
    push(
        &daemon,
        source.path(),
        &TransferOptions { bwlimit: Some(500_000), ..options() },
        TreePush::default(),
    );
    assert!(started.elapsed() >= Duration::from_millis(450));
    daemon.assert_same(source.path());
}
