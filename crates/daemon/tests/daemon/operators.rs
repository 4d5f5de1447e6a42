//! What an operator names, where somebody else has put a link in its place or on the way; and what a
//! session keeps of the daemon's powers.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use driftless_testkit::peer::{free_port, write_private};

use crate::pair::{Daemon, plant, program, soon};

/// Somebody who is neither the superuser nor a module's user.
const SOMEBODY: u32 = 12345;

fn link_of_somebody(target: &Path, link: &Path) {
    symlink(target, link).unwrap();
    lchown(link, Some(SOMEBODY), None).unwrap();
}

fn planted(conf: &str) -> Daemon {
    Daemon::ours(conf, |root| {
        plant(root);
        fs::create_dir(root.join("theirs")).unwrap();
        for name in ["secrets", "m", "motd", "lock2", "log2", "rules"] {
            let target = root.join(if name == "m" { "m" } else { name });
            link_of_somebody(&target, &root.join("theirs").join(name));
        }
        fs::write(root.join("motd"), "welcome\n").unwrap();
        fs::write(root.join("rules"), "- *\n").unwrap();
    })
}

#[test]
fn links_of_others_lead_a_daemon_nowhere() {
    let daemon = planted(
        "\
motd file = @ROOT@/theirs/motd
uid = root
gid = root
use chroot = no
[place]
path = @ROOT@/theirs/m
[below]
path = @ROOT@/theirs/m/sub
[in-jail]
path = @ROOT@/theirs/m
use chroot = yes
[secrets]
path = @ROOT@/m
auth users = alice
secrets file = @ROOT@/theirs/secrets
[lock]
path = @ROOT@/m
max connections = 1
lock file = @ROOT@/theirs/lock2
[log]
path = @ROOT@/m
log file = @ROOT@/theirs/log2
[rules]
path = @ROOT@/m
exclude from = @ROOT@/theirs/rules
",
    );
    for module in ["place", "below"] {
        let said = daemon.answer(format!("@RSYNCD: 31.0\n{module}\n").as_bytes());
        assert!(said.contains("@ERROR: chdir failed"), "{module}: {said}");
        assert!(!said.contains("welcome"));
    }
    let words = ["-r", "rsync://alice@127.0.0.1:@PORT@/secrets/", "--password-file=pw"];
    assert_eq!(daemon.client(&words).err, ["@ERROR: auth failed on module secrets"]);
    let said = daemon.client(&["-r", "@URL@/lock/"]).err;
    assert_eq!(said, ["@ERROR: failed to open lock file"]);
    daemon.client(&["-r", "@URL@/log/"]);
    assert!(!daemon.path("lock2").exists() && !daemon.path("log2").exists());
    // Rules that cannot be read are none that can be left out.
    assert_ne!(daemon.client(&["-r", "@URL@/rules/"]).code, 0);
}

#[test]
fn a_configuration_behind_a_link_of_somebody_is_not_read() {
    let daemon = planted("[m]\npath = @ROOT@/m\n");
    link_of_somebody(&daemon.path("conf"), &daemon.path("theirs/conf"));
    let output = Command::new(program())
        .args(["--daemon", "--no-detach", "--address=127.0.0.1"])
        .arg(format!("--port={}", free_port()))
        .arg(format!("--config={}", daemon.path("theirs/conf").display()))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn an_inner_module_is_left_by_no_link() {
    let daemon = Daemon::ours(
        "uid = root\ngid = root\n[w]\npath = @ROOT@/outer/./w\nuse chroot = yes\nread only = no\n\
         munge symlinks = no\n",
        |root| {
            plant(root);
            fs::create_dir_all(root.join("outer/beside/dir")).unwrap();
            fs::write(root.join("outer/beside/secret"), "secret").unwrap();
            fs::rename(root.join("w"), root.join("outer/w")).unwrap();
            symlink("/beside", root.join("outer/w/out")).unwrap();
            symlink("../beside", root.join("outer/w/rel")).unwrap();
            symlink("../beside/secret", root.join("outer/w/file")).unwrap();
        },
    );
    let before = crate::attacker::snapshot(&daemon.path("outer/beside"));
    for link in ["out", "rel"] {
        let to = format!("@URL@/w/{link}/");
        let new = format!("@URL@/w/{link}/new/");
        let dirs = ["--backup-dir", "--temp-dir", "--partial-dir", "--copy-dest"];
        daemon.client(&["-a", "src/", &to]);
        daemon.client(&["-a", "src/", &new]);
        daemon.client(&["-aK", "src/", &to]);
        for option in dirs {
            daemon.client(&["-aIb", &format!("{option}=/{link}"), "src/", "@URL@/w/sub/"]);
            daemon.client(&["-aIb", &format!("{option}=../{link}"), "src/", "@URL@/w/sub/"]);
        }
        for words in [&["-aL", "@URL@/w/", "got/"][..], &["-a", &to, "got/"], &["-ak", &to, "got/"]]
        {
            daemon.client(words);
        }
    }
    assert_eq!(crate::attacker::snapshot(&daemon.path("outer/beside")), before);
    for name in ["got/secret", "got/file", "got/out/secret", "got/rel/secret"] {
        let text = fs::read_to_string(daemon.path(name)).unwrap_or_default();
        assert!(!text.contains("secret") || daemon.path(name).is_symlink(), "{name}");
    }
}

#[test]
fn a_session_keeps_no_group_of_the_daemon() {
    let daemon = Daemon::ours("[m]\npath = @ROOT@/m\nuid = nobody\ngid = nogroup\n", |root| {
        plant(root);
        let file = root.join("m/for-group-root");
        fs::write(&file, "x").unwrap();
        chown(&file, Some(0), Some(0)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o040)).unwrap();
    });
    let outcome = daemon.client(&["-r", "@URL@/m/", "got/"]);
    assert_eq!(outcome.code, 23, "{outcome:?}");
    assert!(!daemon.path("got/for-group-root").exists());
    assert!(daemon.path("got/a.txt").exists());
}

#[test]
fn names_are_looked_up_before_the_daemon_locks_itself_in() {
    let conf = "daemon chroot = @ROOT@\n[m]\npath = /m\nuid = root\ngid = root\n\
                hosts deny = localhost\n";
    let daemon = Daemon::ours(conf, plant);
    let said = soon("an answer", || {
        Some(daemon.answer(b"@RSYNCD: 31.0\nm\n")).filter(|said| !said.is_empty())
    });
    assert!(said.contains("@ERROR: access denied to m from localhost (127.0.0.1)"), "{said}");
}

#[test]
fn a_file_of_secrets_that_others_may_read_lets_nobody_in() {
    let daemon = Daemon::ours(
        "[m]\npath = @ROOT@/m\nuid = root\ngid = root\nauth users = alice\nsecrets file = @ROOT@/s\n",
        |root| {
            plant(root);
            write_private(&root.join("s"), "alice:secret\n");
        },
    );
    let words = ["-r", "rsync://alice@127.0.0.1:@PORT@/m/", "--password-file=pw"];
    assert_eq!(daemon.client(&words).code, 0);
    for (mode, owner) in [(0o604, 0), (0o600, SOMEBODY)] {
        fs::set_permissions(daemon.path("s"), fs::Permissions::from_mode(mode)).unwrap();
        chown(daemon.path("s"), Some(owner), None).unwrap();
        assert_eq!(daemon.client(&words).err, ["@ERROR: auth failed on module m"]);
    }
}
