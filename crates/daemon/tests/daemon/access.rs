//! Who may enter: listing, hosts, users, slots, and what others are told.

use std::io::{Read, Write};

use crate::attacker::say;
use crate::pair::{Daemon, Pair, plant, soon};

const M: &str = "[m]\npath = @ROOT@/m\nuid = root\ngid = root\nuse chroot = no\n";

#[test]
fn the_handshake_is_that_of_the_real_daemon() {
    let conf = format!(
        "motd file = @ROOT@/motd\n{M}comment = first one\n[hidden]\npath = /x\nlist = no\n\
         [a much longer name than usual]\npath = /x\ncomment = %HOME%\n[nopath]\n"
    );
    let pair = Pair::start(&conf, |root| {
        plant(root);
        std::fs::write(root.join("motd"), "welcome\n").unwrap();
    });
    for said in [
        &b"@RSYNCD: 32.0 sha512 md5\n\n"[..],
        b"@RSYNCD: 31.0\n#list\n",
        b"@RSYNCD: 29\n\n",
        b"@RSYNCD: 24\n\n",
        b"@RSYNCD: 31.0\nnone\n",
        b"@RSYNCD: 31.0\nM\n",
        b"@RSYNCD: 31.0\nnopath\n",
        b"@RSYNCD: 31.0\n#what\n",
        b"@RSYNCD: 31.0\n#early_input=0\n",
        b"@RSYNCD: 31.0\n#early_input=9999\n",
        b"@RSYNCD: 30\n",
        b"@RSYNCD: 32.0\n",
        b"GET / HTTP/1.0\n",
        b"@RSYNCD: abc\n",
    ] {
        pair.same_answer(said);
    }
    pair.same(&["@URL@/"]);
    pair.same(&["--no-motd", "@URL@/"]);
    pair.configure(&format!("motd file = @ROOT@/none\n{M}"));
    pair.same(&["@URL@/"]);
}

#[test]
fn hosts_are_admitted_alike() {
    let pair = Pair::start(M, plant);
    for lines in [
        "hosts allow = 127.0.0.1",
        "hosts allow = 10.0.0.0/8",
        "hosts allow = 127.0.0.0/8\nhosts deny = *",
        "hosts allow = 10.0.0.1\nhosts deny = *",
        "hosts allow = 10.0.0.1\nhosts deny = 10.0.0.2",
        "hosts deny = 127.0.0.1",
        "hosts deny = 127.0.0.0/255.0.0.0",
        "hosts deny = *\nlist = no",
        "hosts allow = localhost",
        "hosts allow = LOCAL*",
        "hosts deny = localhost\nreverse lookup = no",
        "hosts deny = localhost\nreverse lookup = no\nforward lookup = no",
        "hosts deny = no-such-host.invalid",
        "hosts allow = no-such-host.invalid",
        "hosts allow = ::/0",
    ] {
        pair.configure(&format!("{M}{lines}\n"));
        pair.same(&["-a", "@URL@/m/", "out/"]);
    }
}

#[test]
fn users_are_admitted_alike() {
    let pair = Pair::start(M, plant);
    for lines in [
        "auth users = alice",
        "auth users = alice bob",
        "auth users = bob",
        "auth users = *",
        "auth users = alice:deny *",
        "auth users = alice:ro\nread only = no",
        "auth users = alice:rw",
        "auth users = alice : rw",
        "auth users = ALICE",
        "auth users = ,alice",
        "auth users = @root\n",
        "auth users = @nogroup alice",
        "auth users = alice\nauth digest = sha256",
        "auth users = alice\nauth digest = bogus",
        "auth users = alice\nsecrets file = @ROOT@/none",
    ] {
        let conf = format!("{M}secrets file = @ROOT@/secrets\n{lines}\n");
        pair.configure(&conf);
        pair.same(&["-a", "rsync://alice@127.0.0.1:@PORT@/m/", "out/", "--password-file=pw"]);
        pair.same(&["-a", "rsync://alice@127.0.0.1:@PORT@/m/", "out/", "--password-file=pw-bad"]);
        pair.same(&["-a", "src/", "rsync://alice@127.0.0.1:@PORT@/m/", "--password-file=pw"]);
    }
}

#[test]
fn a_module_may_have_another_name_and_lax_secrets() {
    let conf = format!(
        "{M}name = other\n[s]\npath = @ROOT@/m\nuid = root\ngid = root\nauth users = alice\n\
         secrets file = @ROOT@/open\nstrict modes = no\n"
    );
    let pair = Pair::start(&conf, |root| {
        plant(root);
        std::fs::write(root.join("open"), "alice:secret\n").unwrap();
    });
    pair.same(&["@URL@/"]);
    pair.same(&["-a", "@URL@/other/", "out/"]);
    pair.same(&["-a", "@URL@/m/", "out/"]);
    let url = "rsync://alice@127.0.0.1:@PORT@/s/";
    assert_eq!(pair.same(&["-a", url, "out2/", "--password-file=pw"]).code, 0);
}

#[test]
fn the_daemon_itself_may_become_somebody_else() {
    let conf = |lines: &str| format!("{lines}\n[m]\npath = @ROOT@/m\nuse chroot = no\n");
    let pair = Pair::start(&conf(""), plant);
    for (lines, path) in [
        ("daemon uid = nobody\ndaemon gid = nogroup", "@ROOT@/m"),
        ("daemon chroot = @ROOT@", "/m"),
    ] {
        pair.configure(&conf(lines).replace("@ROOT@/m", path));
        pair.same_code(&["-rlt", "@URL@/m/", "out/"]);
    }
    for lines in
        ["daemon uid = no-such-user", "daemon gid = no-such-group", "daemon chroot = /none"]
    {
        pair.configure(&conf(lines));
        // It is closed without a word, which the client meets sooner or later.
        let outcome = pair.ours.client(&["-rlt", "@URL@/m/", "out/"]);
        assert!(matches!(outcome.code, 5 | 12), "{outcome:?}");
    }
    pair.ours.logs("Invalid daemon uid: no-such-user");
    pair.ours.logs("Invalid daemon gid: no-such-group");
}

#[test]
fn the_log_says_why_somebody_does_not_enter() {
    let conf = format!("{M}auth users = alice\nsecrets file = @ROOT@/secrets\n");
    let pair = Pair::start(&conf, plant);
    for user in ["alice", "carol"] {
        let url = format!("rsync://{user}@127.0.0.1:@PORT@/m/");
        pair.same(&["-a", &url, "out/", "--password-file=pw-bad"]);
    }
    pair.configure(&format!("{conf}auth digest = sha256\n"));
    pair.same_answer(b"@RSYNCD: 31.0 md5\nm\n");
    pair.configure(&format!("{M}auth users = alice\nsecrets file = @ROOT@/open\n"));
    for daemon in [&pair.ours, &pair.stock] {
        std::fs::write(daemon.path("open"), "alice:secret\n").unwrap();
    }
    pair.same(&["-a", "rsync://alice@127.0.0.1:@PORT@/m/", "out/", "--password-file=pw"]);
    for part in ["password mismatch", "no matching rule", "weaker than", "ignoring secrets file"] {
        pair.ours.logs(part);
        pair.stock.logs(part);
    }
    let reasons = |daemon: &Daemon| -> Vec<String> {
        let log = daemon.log();
        log.into_iter()
            .filter(|line| line.contains("auth failed") || line.contains("secrets file"))
            .collect()
    };
    assert_eq!(reasons(&pair.ours), reasons(&pair.stock));
}

/// A client that holds a place in a module, which wants its password.
fn hold(daemon: &Daemon) -> std::net::TcpStream {
    let mut stream = daemon.connect();
    stream.write_all(b"@RSYNCD: 31.0 md5\nheld\n").unwrap();
    let mut seen = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&seen).contains("AUTHREQD") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&seen));
        seen.push(byte[0]);
    }
    stream
}

#[test]
fn slots_are_counted_together_with_the_real_daemon() {
    let pair = Pair::start(M, plant);
    let shared = pair.ours.path("shared-lock");
    let conf = format!(
        "{M}[held]\npath = @ROOT@/m\nmax connections = 2\nlock file = {}\nauth users = alice\n\
         secrets file = @ROOT@/secrets\n[off]\npath = /x\nmax connections = -1\n\
         [nolock]\npath = /x\nmax connections = 1\nlock file = /none/lock\n",
        shared.display()
    );
    pair.configure(&conf);
    let first = hold(&pair.stock);
    let second = hold(&pair.ours);
    let full = "@ERROR: max connections (2) reached -- try again later";
    assert!(pair.ours.answer(b"@RSYNCD: 31.0 md5\nheld\n").contains(full));
    assert!(pair.stock.answer(b"@RSYNCD: 31.0 md5\nheld\n").contains(full));
    drop(first);
    soon("the slot of the real daemon is free", || {
        let mut stream = pair.ours.connect();
        stream.write_all(b"@RSYNCD: 31.0 md5\nheld\n").unwrap();
        let mut text = [0; 200];
        let mut seen = String::new();
        while !seen.contains("AUTHREQD") && !seen.contains("@ERROR") {
            let len = stream.read(&mut text).unwrap();
            seen.push_str(&String::from_utf8_lossy(&text[..len]));
        }
        seen.contains("AUTHREQD").then_some(())
    });
    drop(second);
    pair.same_answer(b"@RSYNCD: 31.0 md5\noff\n");
    pair.same_answer(b"@RSYNCD: 31.0 md5\nnolock\n");
}

#[test]
fn a_changed_configuration_counts_for_the_next_connection() {
    let pair = Pair::start(M, plant);
    pair.same(&["@URL@/"]);
    pair.configure("[other]\npath = /x\ncomment = new\n");
    assert_eq!(pair.same(&["@URL@/"]).out, ["other          \tnew"]);
    pair.configure("[broken\n");
    // It is closed without a word, which the client meets sooner or later.
    let outcome = pair.ours.client(&["@URL@/"]);
    assert!(matches!(outcome.code, 5 | 12) && outcome.out.is_empty(), "{outcome:?}");
    pair.configure(M);
    pair.same(&["@URL@/"]);
}

#[test]
fn a_proxy_says_who_calls_only_if_it_is_trusted() {
    let conf = |hosts: &str| format!("proxy protocol = yes\n{hosts}\n{M}hosts allow = 10.1.1.1\n");
    let pair = Pair::start(&conf("proxy protocol hosts = 127.0.0.1"), plant);
    let header = "PROXY TCP4 10.1.1.1 10.0.0.1 5000 873\r\n";
    for said in [
        format!("{header}@RSYNCD: 31.0\n#list\n"),
        "PROXY TCP4 10.1.1.2 10.0.0.1 5000 873\r\n@RSYNCD: 31.0\nm\n".to_owned(),
        "PROXY UNKNOWN\r\n@RSYNCD: 31.0\nm\n".to_owned(),
        "@RSYNCD: 31.0\n#list\n".to_owned(),
    ] {
        pair.same_answer(said.as_bytes());
    }
    pair.ours.logs("connect from UNKNOWN (10.1.1.1)");
    pair.configure(&conf("proxy protocol hosts = 10.0.0.1"));
    assert_eq!(pair.same_answer(format!("{header}@RSYNCD: 31.0\n#list\n").as_bytes()), "");
    pair.ours.logs("proxy protocol rejected from untrusted peer localhost (127.0.0.1)");
    pair.configure(&conf(""));
    assert_eq!(pair.same_answer(format!("{header}@RSYNCD: 31.0\n#list\n").as_bytes()), "");
}

#[test]
fn a_proxy_s_binary_header_is_as_long_as_it_says() {
    let conf = "proxy protocol = yes\nproxy protocol hosts = 127.0.0.1\nreverse lookup = no\n";
    let daemon = Daemon::ours(&format!("{conf}{M}hosts allow = 10.1.1.1\n"), plant);
    let said = |len: u16, body: &[u8]| {
        let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
        bytes.extend(len.to_be_bytes());
        bytes.extend(body);
        bytes.extend(b"@RSYNCD: 31.0\nm\n");
        String::from_utf8_lossy(&say(&daemon, &bytes)).into_owned()
    };
    let client = b"\x0a\x01\x01\x01\x0a\0\0\x01\x10\0\x03\x69";
    assert!(said(12, client).contains("@RSYNCD: OK"));
    assert!(said(0xffff, &[&client[..], &[0; 0xffff - 12]].concat()).contains("@RSYNCD: OK"));
    for (len, body) in [
        (0, &client[..]),
        (11, client),
        (13, client),
        (0x7fff, client),
        (0x8000, client),
        (0xffff, client),
        (0xfff4, client),
    ] {
        let said = said(len, body);
        assert!(!said.contains("@RSYNCD: OK"), "{len}: {said}");
    }
    assert!(!daemon.log().iter().any(|line| line.contains("panicked")));
}

#[test]
fn a_client_that_stalls_is_left() {
    let conf = format!(
        "timeout = 1\n{M}auth users = alice\nsecrets file = @ROOT@/secrets\n[open]\npath = @ROOT@/m\n"
    );
    let daemon = Daemon::ours(&conf, plant);
    for said in [
        &b""[..],
        b"@RSYNC",
        b"@RSYNCD: 31.0\n",
        b"@RSYNCD: 31.0\nm\n",
        b"@RSYNCD: 31.0\nm\nalice",
        b"@RSYNCD: 31.0\nopen\n",
        b"@RSYNCD: 31.0\nopen\n--server\0--sender\0",
    ] {
        // Returns when the daemon closes the connection.
        daemon.answer(said);
    }
    soon("all were left for their silence", || {
        let log = daemon.log();
        let count = log.iter().filter(|line| line.contains("daemon handshake timeout")).count();
        (count == 7).then_some(())
    });
}
