//! What the server is told: the same as the stock client tells it for the same options.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use driftless_fs::Root;
use driftless_transfer::connect::url::DaemonUrl;
use driftless_transfer::options::{ChecksumKind, CompressChoice, WriteOptions};
use driftless_transfer::source::DiskTree;
use driftless_transfer::{ListPush, Peer, TransferOptions, TreePush, push_list, push_tree};

use crate::tree::Recorder;

/// Lets `client` connect to a port and returns the arguments that it sends.
fn heard(client: impl FnOnce(u16) + Send) -> Vec<String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::scope(|scope| {
        scope.spawn(move || client(port));
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"@RSYNCD: 32.0 md5\n@RSYNCD: OK\n").unwrap();
        let mut said = Vec::new();
        let mut byte = [0];
        while !said.ends_with(b"\0\0") && stream.read(&mut byte).unwrap() == 1 {
            said.push(byte[0]);
        }
        let said = String::from_utf8(said).unwrap();
        let start = said.find("--server").expect("arguments were sent");
        said[start..].trim_end_matches('\0').split('\0').map(str::to_owned).collect()
    })
}

fn stock(options: &str, source: &Path, path: &str) -> Vec<String> {
    heard(|port| {
        let status = Command::new("rsync")
            .args(options.split_whitespace())
            .arg(format!("{}/", source.display()))
            .arg(format!("rsync://127.0.0.1:{port}/m/{path}"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(!status.expect("rsync is installed").success(), "the daemon is a fake");
    })
}

fn peer(port: u16, path: &str) -> Peer {
    let url = DaemonUrl::parse(&format!("rsync://127.0.0.1:{port}/m/{path}")).unwrap();
    Peer { url, default_user: "u".to_owned(), password: None }
}

#[track_caller]
fn check_tree(stock_options: &str, options: TransferOptions, push: TreePush) {
    let source = tempfile::tempdir().unwrap();
    let path = "sub/";
    let ours = heard(|port| {
        let mut tree = DiskTree::new(Root::open(source.path()).unwrap(), &options);
        let mut recorder = Recorder::new(source.path());
        push_tree(&peer(port, path), &options, push, &mut tree, &mut recorder).unwrap_err();
    });
    assert_eq!(ours, stock(stock_options, source.path(), path), "{stock_options}");
}

#[test]
fn a_full_pass_is_asked_for_in_the_stock_words() {
    let plain = || TransferOptions { modify_window: 0, ..TransferOptions::default() };
    let tree = TreePush::default;
    check_tree("-a", plain(), tree());
    check_tree(
        "-aH --no-inc-recursive --numeric-ids --modify-window=-1 --delete --force \
         -M--remove-source-files",
        TransferOptions { hard_links: true, numeric_ids: true, modify_window: -1, ..plain() },
        TreePush { delete: true, force: true, acknowledgements: true, ..tree() },
    );
    check_tree(
        "-aWSOJ --fsync --no-owner --no-group --no-perms --no-links",
        TransferOptions {
            whole_file: Some(true),
            sparse: true,
            omit_dir_times: true,
            omit_link_times: true,
            fsync: true,
            owner: false,
            group: false,
            perms: false,
            links: false,
            ..plain()
        },
        tree(),
    );
    check_tree("-a --no-devices", TransferOptions { devices: false, ..plain() }, tree());
    check_tree("-a --no-specials", TransferOptions { specials: false, ..plain() }, tree());
    check_tree(
        "-az --compress-level=9",
        TransferOptions { compress: CompressChoice::Negotiate, compress_level: Some(9), ..plain() },
        tree(),
    );
    for (name, compress) in [
        ("zstd", CompressChoice::Zstd),
        ("lz4", CompressChoice::Lz4),
        ("zlibx", CompressChoice::Zlibx),
        ("zlib", CompressChoice::Zlib),
    ] {
        check_tree(
            &format!("-a --compress-choice={name}"),
            TransferOptions { compress, ..plain() },
            tree(),
        );
    }
    check_tree(
        "-a --checksum-choice=sha1 --checksum-seed=7 --timeout=9 --bwlimit=100 -B 1000",
        TransferOptions {
            checksum_choice: Some(ChecksumKind::Sha1),
            checksum_seed: Some(7),
            timeout: Some(Duration::from_millis(8500)),
            bwlimit: Some(100 * 1024),
            block_size: Some(1000),
            ..plain()
        },
        tree(),
    );
    check_tree(
        "-anc --delete-excluded --max-delete=5 --ignore-errors --size-only",
        plain(),
        TreePush {
            dry_run: true,
            checksum: true,
            delete_excluded: true,
            max_delete: Some(5),
            ignore_errors: true,
            size_only: true,
            ..tree()
        },
    );
    check_tree(
        "-lptgoDnd --delete",
        plain(),
        TreePush { dry_run: true, shallow: true, delete: true, ..tree() },
    );
    check_tree(
        "-aI --delete --max-delete=0 --mkpath --link-dest=/a*b --link-dest=/c --delay-updates --temp-dir=/t",
        TransferOptions {
            delay_updates: true,
            temp_dir: Some(b"/t".to_vec()),
            write: WriteOptions { partial_dir: Some(b".~tmp~".to_vec()), ..Default::default() },
            ..plain()
        },
        TreePush {
            delete: true,
            max_delete: Some(0),
            mkpath: true,
            ignore_times: true,
            link_dest: vec![b"/a*b".to_vec(), b"/c".to_vec()],
            ..tree()
        },
    );
}

#[test]
fn a_partial_session_is_asked_for_in_the_stock_words() {
    let source = tempfile::tempdir().unwrap();
    let stock = stock(
        "-lptgoD -H --numeric-ids --modify-window=-1 -R --dirs --no-r --delete-missing-args --force \
         -M--remove-source-files --size-only --files-from=/dev/null",
        source.path(),
        "",
    );
    let options =
        TransferOptions { hard_links: true, numeric_ids: true, ..TransferOptions::default() };
    let push = ListPush {
        force: true,
        missing_args: true,
        acknowledgements: true,
        size_only: true,
        ..ListPush::default()
    };
    let ours = heard(|port| {
        let mut recorder = Recorder::new(source.path());
        push_list(&peer(port, ""), &options, push, &mut recorder).unwrap_err();
    });
    assert_eq!(ours, stock);
}
