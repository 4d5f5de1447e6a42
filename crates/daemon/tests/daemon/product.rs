//! Both daemons under one configuration and the same clients: each family is the product of what its
//! parts can be. Every scenario has a module and trees of its own.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use driftless_testkit::peer::write_private;
use driftless_testkit::plant::age;

use crate::pair::{Daemon, Pair};

/// A client in a module.
struct Scenario {
    /// Lines of the module, besides its path.
    lines: String,
    /// The client's words; `@M@` is the module, `@USER@` who asks.
    words: String,
    user: &'static str,
    password: &'static str,
    /// Another client is in the module meanwhile.
    held: bool,
}

/// The client's words, with what the module says to either direction.
const PULL: &str = "-a @M@/ @OUT@/";
const PUSH: &str = "-a src/ @M@/up/";
const LIST: &str = "--list-only @M@/";

/// Builds the scenarios.
#[derive(Default)]
struct Book(Vec<Scenario>);

impl Book {
    fn add(&mut self, parts: &[&str], words: &str) -> &mut Scenario {
        let lines = parts.iter().filter(|part| !part.is_empty()).map(|part| format!("{part}\n"));
        self.0.push(Scenario {
            lines: lines.collect(),
            words: words.to_owned(),
            user: "",
            password: "",
            held: false,
        });
        self.0.last_mut().expect("just added")
    }
}

const CHROOT: [&str; 2] = ["use chroot = no", "use chroot = yes"];
const LOGIN: &str = "secrets file = @ROOT@/secrets";

/// Who may enter × chroot × direction that the module allows × direction that is asked for.
fn entries(book: &mut Book) {
    let who: [(&str, &str, &str); 8] = [
        ("auth users = alice", "alice", "pw"),
        ("auth users = alice", "alice", "pw-bad"),
        ("auth users = alice", "carol", "pw"),
        ("auth users = alice:deny *", "alice", "pw"),
        ("auth users = alice:ro bob:rw", "alice", "pw"),
        ("auth users = alice:ro bob:rw", "bob", "pw-bob"),
        ("hosts allow = 127.0.0.0/8\nhosts deny = *", "", ""),
        ("hosts deny = localhost", "", ""),
    ];
    let allowed = ["read only = yes", "read only = no", "read only = no\nwrite only = yes"];
    for chroot in CHROOT {
        for allowed in allowed {
            for words in [PULL, PUSH] {
                // Innermost, since many failures in a row make ours slow.
                for (who, user, password) in who {
                    let scenario = book.add(&[LOGIN, who, chroot, allowed], words);
                    (scenario.user, scenario.password) = (user, password);
                }
            }
        }
    }
}

/// Refused options × chroot × who uses them.
fn refusals(book: &mut Book) {
    for refused in ["checksum", "delete", "compress", "* !a !v !delete*", "recursive"] {
        for chroot in CHROOT {
            for words in [
                "-ac src/ @M@/up/",
                "-a --delete src/ @M@/",
                "-avz @M@/ @OUT@/",
                "-t @M@/a.txt @OUT@/",
            ] {
                let refuse = format!("refuse options = {refused}");
                book.add(&["read only = no", &refuse, chroot], words);
            }
        }
    }
}

/// Rules × chroot × what meets them.
fn rules(book: &mut Book) {
    for rules in [
        "exclude = *.key",
        "filter = + *.txt - *.key - /sub/deep",
        "include = a.* sub/\nexclude = *\n",
        "exclude from = @ROOT@/rules",
    ] {
        for chroot in CHROOT {
            for words in [
                PULL,
                LIST,
                "-a --delete src/ @M@/",
                "-a @M@/a.key @OUT@/",
                "-a src/x.key @M@/a.key",
            ] {
                // The real one leaves an empty directory of a name that it refuses.
                if !(rules.contains("exclude = *\n") && words.contains("--delete")) {
                    book.add(&["read only = no", rules, chroot], words);
                }
            }
        }
    }
}

/// What becomes of links and modes × chroot × direction.
fn changes(book: &mut Book) {
    for change in [
        "munge symlinks = yes",
        "munge symlinks = no",
        "incoming chmod = D2755,F640",
        "outgoing chmod = D711,F404",
        "incoming chmod = nonsense\noutgoing chmod = nonsense",
        "numeric ids = yes",
        "ignore errors = yes\ntimeout = 20",
        "max verbosity = 0",
        "max verbosity = 4",
    ] {
        for chroot in CHROOT {
            for words in ["-avv @M@/ @OUT@/", "-avv src/ @M@/up/"] {
                book.add(&["read only = no", change, chroot], words);
            }
        }
    }
}

/// Programs × chroot × direction.
fn programs(book: &mut Book) {
    for program in [
        "early exec = true",
        "pre-xfer exec = true",
        "pre-xfer exec = echo closed today; exit 2",
        "pre-xfer exec = test %RSYNC_USER_NAME% = nobody",
        "post-xfer exec = touch %RSYNC_MODULE_PATH%/after",
        "name converter = while read a b; do case $a in uid|gid) echo ann;; *) echo 4242;; esac; done",
    ] {
        for chroot in CHROOT {
            for words in [PULL, PUSH, "-a --chown=ann:ann src/ @M@/up/"] {
                book.add(&["read only = no", program, chroot], words);
            }
        }
    }
}

/// Places in a module × whether they are taken × chroot × direction.
fn places(book: &mut Book) {
    for places in ["max connections = 1", "max connections = 2", "max connections = -1"] {
        for held in [false, true] {
            for chroot in CHROOT {
                for words in [PULL, PUSH] {
                    let lock = "lock file = @ROOT@/lock-@N@";
                    let parts =
                        ["read only = no", "auth users = alice", LOGIN, places, lock, chroot];
                    let scenario = book.add(&parts, words);
                    (scenario.user, scenario.password) = ("alice", "pw");
                    scenario.held = held;
                }
            }
        }
    }
}

/// Whether the module is shown × hosts × what is asked for.
fn shown(book: &mut Book) {
    for list in ["list = yes", "list = no"] {
        for hosts in ["", "hosts deny = *", "hosts allow = 10.0.0.1\nhosts deny = 127.0.0.1"] {
            for words in [PULL, "-av @M@-none/ @OUT@/", "@M@/none"] {
                book.add(&[list, hosts], words);
            }
        }
    }
}

/// Whether and how transfers are logged × how much the client wants to hear × direction.
fn logs(book: &mut Book) {
    let formats = [
        "",
        "log format = %i %n%L %l",
        "log format = %o %f %M %G",
        "log format = [%m] %-12n|%8l|%u|%P",
    ];
    for logging in ["transfer logging = no", "transfer logging = yes"] {
        for format in formats {
            for loudness in ["-a", "-av", "-ai", "-avn"] {
                for way in ["@M@/ @OUT@/", "--delete src/ @M@/"] {
                    let words = format!("{loudness} {way}");
                    book.add(&["read only = no", logging, format], &words);
                }
            }
        }
    }
}

fn plant(root: &Path, modules: impl Iterator<Item = usize>) {
    for number in modules {
        let module = root.join(format!("mods/{number}"));
        fs::create_dir_all(module.join("sub/deep")).unwrap();
        for (name, text) in
            [("a.txt", "hello\n"), ("a.key", "key\n"), ("sub/b.txt", "bb\n"), ("sub/deep/c", "c\n")]
        {
            fs::write(module.join(name), text).unwrap();
        }
        std::os::unix::fs::symlink("../out", module.join("link")).unwrap();
    }
    fs::create_dir_all(root.join("src/d")).unwrap();
    fs::write(root.join("src/one"), "1\n").unwrap();
    fs::write(root.join("src/d/two"), "22\n").unwrap();
    fs::write(root.join("src/x.key"), "k\n").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", root.join("src/far")).unwrap();
    for tree in ["mods", "src"] {
        age(&root.join(tree));
    }
    fs::create_dir(root.join("outs")).unwrap();
    fs::write(root.join("rules"), "*.key\n/sub/deep/\n").unwrap();
    write_private(&root.join("secrets"), "alice:secret\nbob:builder\n");
    write_private(&root.join("pw"), "secret\n");
    write_private(&root.join("pw-bob"), "builder\n");
    write_private(&root.join("pw-bad"), "wrong\n");
}

/// A client that has a place in a module, which wants its password; `None` where there is none.
fn hold(daemon: &Daemon, module: &str) -> Option<TcpStream> {
    let mut stream = daemon.connect();
    stream.write_all(format!("@RSYNCD: 31.0 md5\n{module}\n").as_bytes()).unwrap();
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while !seen.ends_with(b"AUTHREQD ") {
        if stream.read(&mut byte).unwrap() == 0 {
            return None;
        }
        seen.push(byte[0]);
    }
    Some(stream)
}

fn play(pair: &Pair, number: usize, scenario: &Scenario) -> Result<(), String> {
    let module = format!("m{number}");
    let holders = scenario.held.then(|| [hold(&pair.ours, &module), hold(&pair.stock, &module)]);
    let who = if scenario.user.is_empty() { String::new() } else { format!("{}@", scenario.user) };
    let (folder, out) = (format!("mods/{number}"), format!("outs/{number}"));
    let text = scenario
        .words
        .replace("@M@", &format!("rsync://{who}127.0.0.1:@PORT@/{module}"))
        .replace("@OUT@", &out);
    let password = format!("--password-file={}", scenario.password);
    let mut words: Vec<&str> = text.split(' ').collect();
    if !scenario.password.is_empty() {
        words.push(&password);
    }
    let found = match &holders {
        // Their sessions run, so that the log has no end yet.
        Some(_) => pair.compare_said(&words, &[&folder, &out]),
        None => pair.compare(&words, &[&folder, &out]),
    };
    if holders.is_some() {
        drop(holders);
        pair.ours.rests();
        pair.stock.rests();
    }
    found.map(drop).map_err(|difference| format!("{}{difference}\n", scenario.lines))
}

#[test]
fn scenarios_are_played_alike() {
    let mut book = Book::default();
    for family in [entries, refusals, rules, changes, programs, places, shown, logs] {
        family(&mut book);
    }
    let scenarios = book.0;
    let mut conf = "uid = root\ngid = root\n".to_owned();
    for (number, scenario) in scenarios.iter().enumerate() {
        let lines = scenario.lines.replace("@N@", &number.to_string());
        conf.push_str(&format!("[m{number}]\npath = @ROOT@/mods/{number}\n{lines}"));
    }
    const PAIRS: usize = 3;
    let all: Vec<(usize, &Scenario)> = scenarios.iter().enumerate().collect();
    let different: Vec<String> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..PAIRS)
            .map(|lane| {
                let (all, conf) = (&all, &conf);
                scope.spawn(move || {
                    let mine = all.iter().skip(lane).step_by(PAIRS);
                    let pair = Pair::start(conf, |root| plant(root, mine.clone().map(|one| one.0)));
                    mine.filter_map(|(number, scenario)| play(&pair, *number, scenario).err())
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        lanes.into_iter().flat_map(|lane| lane.join().expect("the lane ends")).collect()
    });
    // Past the harness, which keeps what a test that passes prints.
    let _ = writeln!(std::io::stderr(), "{} scenarios beside the real daemon", scenarios.len());
    let shown: Vec<&String> = different.iter().take(20).collect();
    assert!(different.is_empty(), "{} of {} differ\n{shown:#?}", different.len(), scenarios.len());
    assert!(scenarios.len() >= 150);
}
