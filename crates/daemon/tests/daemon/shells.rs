//! What a client calls itself and asks for reaches the operator's programs as it is, and no shell
//! takes it for more than that.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use driftless_testkit::kernel::has_mount_namespaces;
use driftless_testkit::peer::write_private;

use crate::attacker::{log_in, opening, say};
use crate::logins::with_system_file;
use crate::pair::{Daemon, plant, soon};

const W: &str = "uid = root\ngid = root\nuse chroot = no\n[w]\npath = @ROOT@/w\nread only = no\n";

const HOOKS: [&str; 4] = ["early exec", "pre-xfer exec", "post-xfer exec", "name converter"];

/// Texts that make the file `planted` where a shell reads them.
fn attacks(root: &str) -> Vec<String> {
    let file = format!("{root}/planted");
    vec![
        format!("x>{file}"),
        format!("x;touch${{IFS}}{file}"),
        format!("x&>{file}"),
        format!("x|tee${{IFS}}{file}"),
        format!("$(touch${{IFS}}{file})"),
        format!("`touch${{IFS}}{file}`"),
        format!("'>{file}'"),
        format!("'$(touch${{IFS}}{file})'"),
        format!("\">{file}\""),
        format!("x\t>{file}"),
        format!("x\x0b\x0c>{file}"),
        "~root".to_owned(),
        "{a,b}".to_owned(),
        "x*".to_owned(),
        "x\\".to_owned(),
        "#x".to_owned(),
        "!x".to_owned(),
    ]
}

#[test]
fn no_user_s_name_commands_a_shell() {
    let daemon = Daemon::ours(W, plant);
    let root = daemon.folder.path().to_str().unwrap();
    let attacks = attacks(root);
    let secrets: Vec<String> = attacks.iter().map(|name| format!("{name}:secret\n")).collect();
    write_private(&daemon.path("s"), &format!("{}ann-1.x@y:secret\n", secrets.concat()));
    for hook in HOOKS {
        // A program that decides who may enter: where it cannot be asked, nobody may.
        let line = format!("{hook} = echo %RSYNC_USER_NAME% '%RSYNC_USER_NAME%' >> @ROOT@/seen");
        daemon.configure(&format!("{W}auth users = *\nsecrets file = @ROOT@/s\n{line}\n"));
        for name in &attacks {
            let said = log_in(&daemon, "w", name, "secret");
            assert!(!said.contains("@RSYNCD: OK") && !said.contains("planted"), "{name}: {said}");
        }
        daemon.rests();
        assert!(!daemon.path("planted").exists(), "{hook}");
        assert!(log_in(&daemon, "w", "ann-1.x@y", "secret").ends_with("@RSYNCD: OK\n"), "{hook}");
    }
    daemon.logs("refusing to run shell hook: %RSYNC_USER_NAME% holds a shell metacharacter");
    soon("the programs ran for a harmless name", || {
        let text = fs::read_to_string(daemon.path("seen")).unwrap_or_default();
        assert!(text.lines().all(|line| line == "ann-1.x@y ann-1.x@y"), "{text}");
        (text.lines().count() >= 2).then_some(())
    });
}

#[test]
fn no_host_s_name_commands_a_shell() {
    if !has_mount_namespaces() {
        eprintln!("this needs mount namespaces");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let planted = place.path().join("planted");
    let name = format!("x>{}", planted.display());
    let hosts: String = (1..255).map(|last| format!("127.0.0.{last} {name}\n")).collect();
    let launch = with_system_file("/etc/hosts", &hosts, &place);
    let daemon = Daemon::launch(launch, W, plant);
    for hook in HOOKS {
        daemon.configure(&format!("{W}{hook} = echo %RSYNC_HOST_NAME%\n"));
        let said = log_in(&daemon, "w", "", "");
        assert!(!said.contains("@RSYNCD: OK"), "{hook}: {said}");
        daemon.rests();
        assert!(!planted.exists(), "{hook}");
    }
    daemon.logs("refusing to run shell hook: %RSYNC_HOST_NAME% holds a shell metacharacter");
}

#[test]
fn no_module_s_name_or_path_commands_a_shell() {
    // Within a name there are no slashes: what is made is made where the daemon was started.
    let name = "it's $(touch planted); touch planted #";
    let daemon = Daemon::ours("", |root| {
        plant(root);
        fs::create_dir(root.join(name)).unwrap();
    });
    let module = |name: &str, path: &str| {
        format!("uid = root\ngid = root\nuse chroot = no\n[{name}]\npath = @ROOT@/{path}\n")
    };
    for (name, path, variable) in
        [(name, "w", "RSYNC_MODULE_NAME"), ("w", name, "RSYNC_MODULE_PATH")]
    {
        for hook in HOOKS {
            let line = format!("{hook} = echo %{variable}% >> @ROOT@/seen");
            daemon.configure(&format!("{}{line}\n", module(name, path)));
            let said = log_in(&daemon, name, "", "");
            assert!(!said.contains("@RSYNCD: OK"), "{hook}: {said}");
            daemon.logs(&format!("%{variable}% holds a shell metacharacter"));
        }
        // What stands in the environment is no part of the command.
        let line = format!("early exec = printf '%s\\n' \"${variable}\" > @ROOT@/seen");
        daemon.configure(&format!("{}{line}\n", module(name, path)));
        assert!(log_in(&daemon, name, "", "").ends_with("@RSYNCD: OK\n"));
        let seen = fs::read_to_string(daemon.path("seen")).unwrap();
        assert!(seen.ends_with("it's $(touch planted); touch planted #\n"), "{seen}");
        fs::remove_file(daemon.path("seen")).unwrap();
    }
    assert!(!std::path::Path::new("planted").exists());
}

#[test]
fn what_is_asked_for_reaches_a_program_as_it_is() {
    let see = "printf '%s|' %RSYNC_REQUEST% \"$RSYNC_REQUEST\" \"$RSYNC_ARG2\" \"$RSYNC_ARG5\" \
               >> @ROOT@/seen; exit 1";
    let daemon = Daemon::ours(&format!("{W}pre-xfer exec = {see}\n"), plant);
    let root = daemon.folder.path().to_str().unwrap();
    let rooted = [format!("$(touch {root}/planted)"), format!("a\nb; touch {root}/planted #")];
    for path in rooted.iter().map(String::as_str).chain(["%RSYNC_USER_NAME%", "a' \"b", "-x"]) {
        let words = ["--server", "--sender", "-re.LsfxCIvu", ".", &format!("w/{path}")];
        say(&daemon, &[opening(&words), b"\x03md5".to_vec()].concat());
        daemon.rests();
        let seen = fs::read_to_string(daemon.path("seen")).unwrap();
        // Nothing is put in for what the configuration cannot know.
        let expected = format!("%RSYNC_REQUEST%|w/{path}|--sender|{path}|");
        assert_eq!(seen, expected);
        fs::remove_file(daemon.path("seen")).unwrap();
        assert!(!daemon.path("planted").exists(), "{path}");
    }
}

#[test]
fn a_program_that_converts_names_is_asked_one_thing_and_makes_nobody_the_superuser() {
    let convert = |answer: &str| {
        format!(
            "{W}name converter = while read -r line; do echo \"$line\" >> @ROOT@/asked; {answer}; done\n"
        )
    };
    let daemon = Daemon::ours(W, |root| {
        plant(root);
        chown(root.join("src/one"), Some(33), Some(33)).unwrap();
    });
    let asked = || fs::read_to_string(daemon.path("asked")).unwrap_or_default();
    let owner = || {
        let made = daemon.path("w/up/one").metadata().unwrap();
        fs::remove_dir_all(daemon.path("w/up")).unwrap();
        (made.uid(), made.gid())
    };
    daemon.configure(&convert("echo 0"));
    for map in ["--usermap=*:x\nusr root", "--groupmap=*:x\ngrp root", "--usermap=*:x\x7f"] {
        let outcome = daemon.client(&["-a", "--numeric-ids", map, "src/", "@URL@/w/up/"]);
        assert!(outcome.err.iter().any(|line| line.starts_with("Unknown --")), "{outcome:?}");
        assert_eq!(owner(), (33, 33), "{map:?}");
        assert_eq!(asked(), "", "{map:?}");
    }
    for answer in ["echo", "echo -1", "echo 0x0", "echo ' 0'", "echo 0 0", "exit", "echo root"] {
        daemon.configure(&convert(answer));
        // The client says that 33 is www-data, and then that all are to be ann's.
        for map in [&["-a"][..], &["-a", "--chown=ann:ann"]] {
            daemon.client(&[map, &["src/", "@URL@/w/up/"]].concat());
            assert_eq!(owner(), (33, 33), "{answer} {map:?}");
            assert!(asked().starts_with("usr "), "{}", asked());
            fs::remove_file(daemon.path("asked")).unwrap();
        }
    }
}
