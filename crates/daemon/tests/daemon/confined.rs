//! Nothing leads out of a module: run as root, without chroot.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Component, Path};

use driftless_proto::sums::SumHead;
use driftless_testkit::plant::set_mtime;

use crate::attacker::{Script, agreed, framed, log_of, push_in_turn, snapshot};
use crate::pair::{Daemon, Pair, plant};

const OPEN: &str = "\
uid = root
gid = root
use chroot = no
[w]
path = @ROOT@/w
read only = no
[plain]
path = @ROOT@/w
read only = no
munge symlinks = no
[insecure]
path = @ROOT@/w
read only = no
insecure links = yes
";

fn planted() -> Daemon {
    Daemon::ours(OPEN, |root| {
        plant(root);
        fs::create_dir_all(root.join("outside/dir")).unwrap();
        fs::write(root.join("outside/secret"), "secret\n").unwrap();
        fs::write(root.join("outside/dir/deep"), "secret too\n").unwrap();
        symlink(root.join("outside"), root.join("w/out")).unwrap();
        symlink("../outside", root.join("w/rel")).unwrap();
        symlink("sub", root.join("w/in")).unwrap();
        symlink(root.join("outside/secret"), root.join("w/file")).unwrap();
    })
}

/// All that lies outside the module, with its content.
fn outside(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut dirs = vec![root.join("outside")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path.clone());
            }
            found.push((path.display().to_string(), fs::read(&path).unwrap_or_default()));
        }
    }
    found.sort();
    found
}

fn holds_secret(dir: &Path) -> bool {
    let Ok(entries) = fs::read_dir(dir) else { return false };
    entries.map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_symlink() {
            return false;
        }
        if path.is_dir() {
            return holds_secret(&path);
        }
        fs::read(&path).is_ok_and(|text| text.starts_with(b"secret"))
    })
}

#[test]
fn no_option_leads_a_push_out_of_the_module() {
    let daemon = planted();
    let before = outside(daemon.folder.path());
    for module in ["w", "plain"] {
        for link in ["out", "rel", "out/dir", "rel/dir", "in/../out", "in/../../outside"] {
            let to = format!("@URL@/{module}/{link}/");
            let new = format!("@URL@/{module}/{link}/new/");
            let file = format!("@URL@/{module}/{link}/one");
            let backup = format!("--backup-dir={link}");
            let temp = format!("--temp-dir={link}");
            let partial = format!("--partial-dir={link}");
            let compare = format!("--copy-dest={link}");
            let into = format!("@URL@/{module}/t/");
            for words in [
                &["-a", "src/", &to][..],
                &["-a", "src/", &new],
                &["-a", "--mkpath", "src/", &new],
                &["-a", "src/one", &file],
                &["-a", "--delete", "src/", &to],
                &["-a", "--inplace", "src/", &to],
                &["-aK", "src/", &to],
                &["-aR", "src/one", &to],
                &["-as", "src/", &to],
                &["-as", "--mkpath", "src/", &new],
                &["-as", "-I", "-b", &backup, "src/", &into],
                &["-a", "-I", "-b", &backup, "src/", &into],
                &["-a", "-I", &temp, "src/", &into],
                &["-a", "-I", &partial, "src/", &into],
                &["-a", "-I", &compare, "src/", &into],
                &["-a", "-I", "--delay-updates", "src/", &into],
            ] {
                daemon.client(words);
                assert_eq!(outside(daemon.folder.path()), before, "{words:?}");
            }
        }
    }
}

#[test]
fn no_option_leads_a_pull_out_of_the_module() {
    let daemon = planted();
    for module in ["w", "plain"] {
        for (at, words) in [
            &["-a", "out/"][..],
            &["-a", "out/secret"],
            &["-a", "rel/dir/"],
            &["-aL", ""],
            &["-aL", "file"],
            &["-ak", "out/"],
            &["-ak", ""],
            &["-a", "--copy-unsafe-links", ""],
            &["-aR", "in/../out/secret"],
            &["-a", "../outside/"],
            &["-a", "out/s*"],
            &["-a", "*/secret"],
            &["-a", "--files-from=:/out/dir/deep", ""],
            &["-as", "out/secret"],
            &["-as", "../outside/"],
            &["-as", "in/../../outside/secret"],
            &["-as", "--files-from=:/out/dir/deep", ""],
            &["-aL", "--exclude-from=x", ""],
            &["-aL", "-f. out/secret", ""],
            &["-aL", "-f: ../outside/secret", ""],
            &["-aLX", ""],
        ]
        .iter()
        .enumerate()
        {
            let (path, options) = words.split_last().unwrap();
            let out = format!("back-{module}-{at}/");
            let from = format!("@URL@/{module}/{path}");
            let all: Vec<&str> =
                options.iter().copied().chain([from.as_str(), out.as_str()]).collect();
            let outcome = daemon.client(&all);
            assert!(!holds_secret(&daemon.path(&out)), "{all:?}");
            let said = [outcome.out, outcome.err].concat().concat();
            assert!(!said.contains("secret too"), "{all:?}: {said}");
        }
    }
}

#[test]
fn no_link_of_an_alternate_directory_gives_content_to_a_file() {
    let daemon = planted();
    fs::create_dir_all(daemon.path("w/alt")).unwrap();
    fs::create_dir_all(daemon.path("guess")).unwrap();
    for (name, target) in [("secret", "../../outside/secret"), ("deep", "../../outside/dir/deep")] {
        let target = daemon.path("w/alt").join(target);
        symlink(&target, daemon.path("w/alt").join(name)).unwrap();
        let len = fs::read(&target).unwrap().len();
        // What a client can guess.
        let guess = daemon.path("guess").join(name);
        fs::write(&guess, "?".repeat(len)).unwrap();
        for file in [&target, &guess] {
            set_mtime(file, 1_600_000_000, 0);
        }
    }
    for option in ["--copy-dest", "--link-dest", "--compare-dest"] {
        for dir in ["/alt", "../alt", "/out", "../../outside"] {
            let option = format!("{option}={dir}");
            for form in ["-a", "-aK", "-ac", "-ay"] {
                for module in ["w", "plain"] {
                    let to = format!("@URL@/{module}/t/");
                    let words = [form, "--no-whole-file", &option, "guess/", &to];
                    let outcome = daemon.client(&words);
                    assert_eq!(outcome.code, 0, "{words:?} {outcome:?}");
                    for name in ["secret", "deep"] {
                        let made = daemon.path("w/t").join(name);
                        let text = fs::read_to_string(&made).unwrap();
                        assert!(text.starts_with('?'), "{words:?}: {text}");
                        fs::remove_file(&made).unwrap();
                    }
                }
            }
        }
    }
}

#[test]
fn links_inside_are_followed_and_a_module_may_trust_all_links() {
    let daemon = planted();
    assert_eq!(daemon.client(&["-a", "@URL@/w/in/b.txt", "got/"]).code, 0);
    assert_eq!(fs::read(daemon.path("got/b.txt")).unwrap(), b"bb\n");
    assert_eq!(daemon.client(&["-a", "src/one", "@URL@/w/in/"]).code, 0);
    assert!(daemon.path("w/sub/one").exists());
    assert_eq!(daemon.client(&["-a", "@URL@/insecure/out/secret", "got/"]).code, 0);
    assert_eq!(fs::read(daemon.path("got/secret")).unwrap(), b"secret\n");
}

#[test]
fn nothing_is_pushed_through_a_link_of_the_same_session() {
    // Links are made as they are sent.
    let daemon = Daemon::ours(
        &OPEN.replace("use chroot = no", "use chroot = no\nmunge symlinks = no"),
        |root| {
            plant(root);
            fs::create_dir_all(root.join("outside/d")).unwrap();
            fs::write(root.join("outside/canary"), "canary").unwrap();
        },
    );
    let before = snapshot(&daemon.path("outside"));
    let target = b"../outside";
    let start = || Script::new().dir(b".").link(b"l", target);
    let text = SumHead::default();
    for (what, script) in [
        ("files", start().file(b"l/canary", 3).file(b"l/new", 3).end()),
        ("directories", start().dir(b"l/d").file(b"l/d/new", 3).dir(b"l/e").end()),
        ("a directory", start().dir(b"l").file(b"l/new", 3).end()),
        ("a link", Script::new().dir(b".").dir(b"l").file(b"l/new", 3).link(b"l", target).end()),
        ("links", start().link(b"l/m", b"x").file(b"l/m/new", 3).end()),
    ] {
        for more in [
            &[][..],
            &["--inplace"],
            &["--keep-dirlinks"],
            &["--relative"],
            &["--delete"],
            &["--mkpath"],
            &["--temp-dir=l"],
            &["--partial-dir=l"],
            &["--backup", "--backup-dir=l"],
            &["--copy-dest=l"],
            &["--delay-updates"],
        ] {
            let args = [&["--server", "-ltre.LsfxCIvu"][..], more, &[".", "w/"]].concat();
            for number in [2, 3] {
                let content = Script::new().raw(&script.data).answer(number, 0x8000).head(text);
                let content = content.literal(b"abc").raw(&[0; 20]);
                let (log, code) = log_of(&daemon, &[agreed(&args), framed(&content.data)].concat());
                assert!(code != 0, "{what} {more:?}: {log}");
            }
            let _ = fs::remove_dir_all(daemon.path("w/l"));
            let _ = fs::remove_file(daemon.path("w/l"));
        }
        assert_eq!(snapshot(&daemon.path("outside")), before, "{what}");
    }
    let log = fs::read_to_string(daemon.path("log")).unwrap();
    assert!(!log.contains("panicked") && !log.contains("ended by signal"), "{log}");
}

/// Link texts that lead out, or might where a part of them is a link.
const LEADING_OUT: [&[u8]; 9] = [
    b"/etc/passwd",
    b"..",
    b"../outside/secret",
    b"in/../../outside/secret",
    b"in/..",
    b"in/../a.txt",
    b"./in/../../outside",
    b"deep/../../../outside",
    b"a//../../outside",
];

/// Pushes them, and one that stays inside behind them.
fn push_links(daemon: &Daemon) {
    let mut script = Script::new().dir(b".");
    for (at, target) in LEADING_OUT.iter().enumerate() {
        script = script.link(format!("l{at}").as_bytes(), target);
    }
    let script = script.link(b"safe", b"sub/b.txt").end().answer(9_999, 0x8000);
    let args = ["--server", "-ltre.LsfxCIvu", "--safe-links", ".", "w/"];
    push_in_turn(daemon, &args, &script);
}

#[test]
fn links_that_may_lead_out_are_not_made_where_only_safe_ones_are() {
    let daemon = Daemon::ours(&OPEN.replace("use chroot = no", "use chroot = yes"), plant);
    push_links(&daemon);
    assert!(daemon.path("w/safe").is_symlink());
    for (at, target) in LEADING_OUT.iter().enumerate() {
        let made = daemon.path(&format!("w/l{at}")).read_link();
        assert!(made.is_err(), "{}: {made:?}", target.escape_ascii());
    }
}

#[test]
fn links_lead_into_the_module_where_nothing_else_keeps_them_there() {
    let conf = "uid = root\ngid = root\nuse chroot = no\nmunge symlinks = no\n\
                [w]\npath = @ROOT@/w\nread only = no\n";
    let pair = Pair::start(conf, plant);
    let made = |daemon: &Daemon| {
        push_links(daemon);
        assert!(daemon.path("w/safe").is_symlink());
        let link = |at| fs::read_link(daemon.path(&format!("w/l{at}"))).ok();
        (0..LEADING_OUT.len()).map(link).collect::<Vec<_>>()
    };
    let (ours, stock) = (made(&pair.ours), made(&pair.stock));
    assert_eq!(ours, stock);
    for target in ours.iter().flatten() {
        let leads_out =
            target.is_absolute() || target.components().any(|part| part == Component::ParentDir);
        assert!(!leads_out, "{}", target.display());
    }
}
