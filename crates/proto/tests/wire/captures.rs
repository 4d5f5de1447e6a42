//! Every captured session, by name.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::lane::Lane;
use crate::session::{Counts, Session};

fn data() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/captures")
}

fn read(name: &str, ending: &str) -> Vec<u8> {
    let path = data().join(format!("{name}.{ending}"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn session(name: &str) -> Session {
    Session::new(read(name, "c2s.bin"), read(name, "s2c.bin"), basis(name))
}

/// What the destination held before, in the captures with compressed tokens.
fn basis(name: &str) -> Vec<u8> {
    if name == "pull_zlib_bigblk" {
        let next = |x: &u64| Some((x * 1_103_515_245 + 12345) % (1 << 31));
        let states = std::iter::successors(Some(42), next).skip(1);
        return states.map(|x| (x >> 16) as u8).take(400_000).collect();
    }
    (0..600).flat_map(|i| format!("line {i:05} some compressible text\n").into_bytes()).collect()
}

fn ends(session: &Session) {
    assert!(session.client.is_empty() && session.server.is_empty(), "undecoded bytes are left");
}

/// A daemon session with all its phases.
fn complete(name: &str) {
    let mut session = session(name);
    assert!(session.daemon_start());
    finish(&mut session);
}

/// A session over a remote shell with all its phases.
fn shell(name: &str) {
    let mut session = session(name);
    let argv = String::from_utf8(read(name, "argv")).expect("arguments are text");
    session.shell_start(argv.lines().map(|arg| arg.as_bytes().to_vec()).collect());
    finish(&mut session);
}

fn finish(session: &mut Session) {
    session.setup();
    let counts = session.transfer();
    ends(session);
    all_phases(&counts, session);
}

/// Protocol reference, sections "Phases without incremental recursion" and "with".
fn all_phases(counts: &Counts, session: &Session) {
    let goodbye = if session.protocol() >= 31 { 1 } else { 0 };
    assert_eq!(counts.sender_dones, counts.lists - 1 + 3 + goodbye);
    assert_eq!(counts.generator_dones, counts.lists - 1 + 4 + goodbye);
}

/// A session that was recorded into a batch file.
fn batch(name: &str) {
    complete(name);
    let mut live = session(name);
    live.daemon_start();
    live.setup();
    let counts = live.batch(Lane::new("batch", read(name, "batch")));
    assert_eq!((counts.lists, counts.sender_dones), (1, 4));
}

/// A daemon session that ends before its phases are through.
fn cut_short(name: &str) {
    let mut session = session(name);
    assert!(session.daemon_start());
    session.setup();
    session.transfer();
    ends(&session);
}

/// A daemon session that ends with the text handshake.
fn text_only(name: &str) {
    let mut session = session(name);
    assert!(!session.daemon_start());
    ends(&session);
}

macro_rules! captures {
    ($($check:ident { $($name:ident,)* })*) => {
        $($(
            #[test]
            #[allow(non_snake_case, reason = "tests have the names of their captures")]
            fn $name() {
                $check(stringify!($name));
            }
        )*)*

        const NAMES: &[&str] = &[$($(stringify!($name),)*)*];
    };
}

captures! {
    complete {
        daemon_s,
        pull_atimes,
        pull_auth,
        pull_baddir,
        pull_csnone,
        pull_csum,
        pull_cvs,
        pull_delete_after,
        pull_delete_before,
        pull_delete_delay,
        pull_delta,
        pull_delta_p29,
        pull_delta_p30,
        pull_dry,
        pull_ff,
        pull_hl_p29,
        pull_inc,
        pull_ka,
        pull_listonly,
        pull_long,
        pull_longname,
        pull_lz4,
        pull_meta_inc,
        pull_meta_noinc,
        pull_missing,
        pull_noinc,
        pull_nosend,
        pull_nosend_noinc,
        pull_onedir,
        pull_p29,
        pull_p30,
        pull_p31,
        pull_redo,
        pull_redo_noinc,
        pull_single,
        pull_sum_md4,
        pull_sum_md5,
        pull_sum_sha1,
        pull_sum_xxh128,
        pull_sum_xxh3,
        pull_sum_xxh64,
        pull_tmo,
        pull_zlib,
        pull_zlib_bigblk,
        pull_zlibx,
        pull_zstd,
        push3,
        push_append,
        push_copy_dest_rename,
        push_cvs,
        push_delay,
        push_delete,
        push_delete_after,
        push_delete_v,
        push_delta,
        push_early,
        push_ff,
        push_fuzzy,
        push_iflags,
        push_inc,
        push_link_dest_rename,
        push_linkdest,
        push_max_delete,
        push_meta,
        push_missing_args,
        push_missing_args_inc,
        push_missing_args_noforce,
        push_missing_only,
        push_modify_window,
        push_p29,
        push_p30,
        push_p31,
        push_redo,
        push_relative,
        push_remove,
        push_same_second,
    }
    shell {
        ssh_bare,
        ssh_iconv,
        ssh_nov,
        ssh_nov_noC,
        ssh_nov_z,
        ssh_pull_s,
        ssh_push,
    }
    batch {
        pull_batch,
        push_batch,
    }
    cut_short {
        pull_empty,
        ro_push,
    }
    text_only {
        auth_fail,
        badmod,
        list,
    }
}

#[test]
fn no_capture_is_left_out() {
    let files = std::fs::read_dir(data()).expect("the captures");
    let recorded: BTreeSet<String> = files
        .map(|file| file.expect("an entry").file_name().into_string().expect("text"))
        .filter_map(|name| name.strip_suffix(".c2s.bin").map(str::to_owned))
        .collect();
    assert_eq!(recorded, NAMES.iter().map(|&name| name.to_owned()).collect());
}
