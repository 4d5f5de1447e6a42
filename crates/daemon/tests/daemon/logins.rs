//! Lists of users, groups, secrets and hosts that are unusual: whoever is denied stays out.

use std::fs;
use std::path::PathBuf;

use driftless_testkit::kernel::has_mount_namespaces;
use driftless_testkit::peer::write_private;
use driftless_testkit::plant::executable;

use crate::attacker::log_in;
use crate::pair::{Daemon, Launch, Pair, plant, program};

const M: &str = "\
reverse lookup = no
uid = root
gid = root
use chroot = no
[m]
path = @ROOT@/m
";

const IN: &str = "@RSYNCD: OK\n";

/// A daemon that finds `file` in the place of a file of the system.
pub fn with_system_file(name: &str, text: &str, place: &tempfile::TempDir) -> Launch {
    let file = place.path().join("file");
    fs::write(&file, text).unwrap();
    let script: PathBuf = place.path().join("daemon");
    let (file, daemon) = (file.display(), program());
    let daemon = daemon.display();
    let line = format!("mount --bind '{file}' '{name}' && exec '{daemon}' \"$@\"");
    executable(
        &script,
        format!("#!/bin/sh\nexec unshare --mount sh -c '{}' sh \"$@\"\n", {
            line.replace('\'', "'\\''")
        }),
    );
    Launch { program: script, ..Launch::ours() }
}

#[test]
fn a_list_of_nobody_lets_nobody_in() {
    let pair = Pair::start(M, plant);
    for users in [",", " , ", ",,", ", ,"] {
        let lines = format!("auth users = {users}\nsecrets file = @ROOT@/secrets\n");
        pair.configure(&format!("{M}{lines}"));
        for daemon in [&pair.ours, &pair.stock] {
            for user in ["alice", ",", "@root", "*"] {
                let said = log_in(daemon, "m", user, "secret");
                assert!(said.ends_with("@ERROR: auth failed on module m\n"), "{users}: {said}");
            }
        }
    }
}

#[test]
fn a_group_with_a_blank_in_its_name_is_denied_as_one() {
    if !has_mount_namespaces() {
        eprintln!("this needs mount namespaces");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let groups = "root:x:0:\nnogroup:x:65534:\nweb team:x:4711:nobody\n";
    let conf = |users: &str| format!("{M}auth users = {users}\nsecrets file = @ROOT@/s\n");
    let secrets = "nobody:secret\nalice:secret\nteam:secret\n";
    let furnish = |root: &std::path::Path| {
        plant(root);
        write_private(&root.join("s"), secrets);
    };
    let launch = with_system_file("/etc/group", groups, &place);
    let daemon = Daemon::launch(launch, &conf(",@web team:deny,*"), furnish);
    for (users, who, enters) in [
        (",@web team:deny,*", "nobody", false),
        (",@web team:deny,*", "alice", true),
        (",@web team,alice:deny", "nobody", true),
        (",@web team,alice:deny", "alice", false),
        // By blanks it would be two rules, of which neither is about the group.
        (",@web team", "team", false),
        ("@web team:deny *", "nobody", true),
    ] {
        daemon.configure(&conf(users));
        let said = log_in(&daemon, "m", who, "secret");
        assert_eq!(said.ends_with(IN), enters, "{users} {who}: {said}");
    }
}

#[test]
fn a_user_without_a_secret_is_refused_at_once() {
    let conf = format!("{M}auth users = *\nsecrets file = @ROOT@/s\n");
    let pair = Pair::start(&conf, |root| {
        plant(root);
        write_private(&root.join("s"), "");
    });
    let long = "x".repeat(5_000);
    for secrets in ["", "\n", "alice", "alice\n\n\n", "bob:secret", "alice :secret", &long] {
        for daemon in [&pair.ours, &pair.stock] {
            fs::write(daemon.path("s"), secrets).unwrap();
            for user in ["alice", "nobody", "#", "@root"] {
                let said = log_in(daemon, "m", user, "secret");
                assert!(said.ends_with("@ERROR: auth failed on module m\n"), "{secrets}: {said}");
            }
        }
        // No session goes on behind it.
        pair.ours.rests();
    }
    fs::write(pair.ours.path("s"), "bob:x\nalice:secret").unwrap();
    // Whom no line of the file can be about, though all of them may log in.
    for user in ["", "*", "a*", "alice\0", "\0alice", "alice:", "Alice", &"x".repeat(5_200)] {
        let said = log_in(&pair.ours, "m", user, "secret");
        assert!(said.contains("AUTHREQD") && !said.ends_with(IN), "{user:?}: {said}");
    }
    assert!(log_in(&pair.ours, "m", "alice", "secret").ends_with(IN));
}

#[test]
fn a_host_that_cannot_be_found_or_understood_is_denied_and_not_allowed() {
    let daemon = Daemon::ours(M, plant);
    for lines in [
        "hosts deny = no-such-host.invalid",
        "hosts deny = 10.0.0.1, no-such-host.invalid 10.0.0.2",
        "hosts deny = no-such-host.invalid\nhosts allow = 10.0.0.1",
        "hosts deny = 10.0.0.0/99",
        "hosts deny = 10.0.0.0/255.0.x",
        "hosts deny = 10.0.0.999",
        "hosts allow = no-such-host.invalid",
        "hosts allow = 127.0.0.0/99",
    ] {
        daemon.configure(&format!("{M}{lines}\n"));
        let said = log_in(&daemon, "m", "", "");
        assert!(said.contains("@ERROR: access denied to m from "), "{lines}: {said}");
    }
    daemon.configure(&format!("{M}hosts deny = 10.0.0.1\n"));
    assert!(log_in(&daemon, "m", "", "").ends_with(IN));
}
