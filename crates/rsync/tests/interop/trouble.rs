//! Bad input, beside the original: the same exit code and words, everything else transferred, no
//! temporary left.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use driftless_testkit::compare::{CompareOptions, differences, temporaries};
use driftless_testkit::output::normal;
use driftless_testkit::plant::{executable, noise};

use crate::ground::ours;
use crate::trees::LONG_AGO;

/// Somebody without rights.
const NOBODY: u32 = 65_534;

struct Place {
    folder: tempfile::TempDir,
    /// File systems to take away again.
    mounted: Vec<PathBuf>,
    as_nobody: bool,
}

/// What a run says: its code, its standard output and standard error, line by line and sorted.
type Said = (Option<i32>, Vec<String>, Vec<String>);

impl Place {
    /// Two copies of what `plant` makes, with a shell beside them that `script` is the body of.
    fn new(script: &str, plant: impl Fn(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let place = Self { folder, mounted: Vec::new(), as_nobody: false };
        for copy in ["theirs", "ours"] {
            for dir in ["s", "d"] {
                fs::create_dir_all(place.path(copy).join(dir)).unwrap();
            }
            plant(&place.path(copy));
        }
        executable(place.path("shell"), format!("#!/bin/sh\n{script}\n"));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, copy: &str, program: &Path, words: &[&str]) -> Said {
        let mut command = Command::new("timeout");
        command.arg("60");
        if self.as_nobody {
            let id = NOBODY.to_string();
            command.args(["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"]);
        }
        let output = command
            .arg(program)
            .args(words)
            .current_dir(self.path(copy))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("RSYNC_RSH", self.path("shell"))
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .expect("this test needs the programs timeout and setpriv");
        let here = self.path(copy);
        let lines = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).replace(here.to_str().unwrap(), "HERE");
            let mut lines: Vec<String> = normal(&text).lines().map(without_random).collect();
            lines.sort_unstable();
            lines
        };
        (output.status.code(), lines(&output.stdout), lines(&output.stderr))
    }

    /// Runs both programs; what they say and leave must be equal.
    #[track_caller]
    fn same(&self, words: &[&str]) -> Said {
        // Whoever may not read it all can still run what is in it.
        let program = self.path("program");
        fs::copy(ours(), &program).unwrap();
        let theirs = self.run("theirs", Path::new("rsync"), words);
        let found = self.run("ours", &program, words);
        assert_eq!(found, theirs, "rsync {}", words.join(" "));
        let options = CompareOptions { now_from: Some(LONG_AGO), ..CompareOptions::default() };
        let [theirs, ours] = ["theirs/d", "ours/d"].map(|copy| self.path(copy));
        assert_eq!(differences(&theirs, &ours, &options).unwrap(), [""; 0]);
        assert_eq!(temporaries(&ours).unwrap(), [""; 0]);
        found
    }

    /// Gives each copy a destination with so much room.
    fn with_room(mut self, size: &str) -> Self {
        for copy in ["theirs", "ours"] {
            let at = self.path(copy).join("d");
            let mounted = Command::new("mount")
                .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
                .arg(&at)
                .status();
            assert!(mounted.expect("this test needs the program mount").success());
            self.mounted.push(at);
        }
        self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for at in &self.mounted {
            let _ = Command::new("umount").arg(at).status();
        }
    }
}

/// A line without the random part of a temporary's name, how many bytes were there by then, and
/// which of the original's processes speaks.
fn without_random(line: &str) -> String {
    let roles = ["receiver", "Receiver", "generator"];
    let line = roles.iter().fold(line.to_owned(), |line, role| line.replace(role, "ROLE"));
    let words = line.split(' ').map(|word| {
        let is_temporary = word.starts_with("\"HERE/d/.") && word.ends_with('"');
        match word.rfind('.').filter(|_| is_temporary) {
            Some(dot) => format!("{}.#\"", &word[..dot]),
            None if word.starts_with('(') && word[1..].parse::<u64>().is_ok() => "(#".to_owned(),
            None => word.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

const PLAIN_SHELL: &str = "shift; exec \"$@\"";

fn plant(root: &Path) {
    fs::create_dir_all(root.join("s/sub")).unwrap();
    for name in ["s/a", "s/sub/b", "s/z"] {
        fs::write(root.join(name), name).unwrap();
    }
}

const WAYS: [[&str; 2]; 3] = [["s/", "d"], ["s/", "h:d"], ["h:s/", "d"]];

#[test]
fn what_may_not_be_read_is_named_and_the_rest_goes_over() {
    for ends in WAYS {
        let mut place = Place::new(PLAIN_SHELL, |root| {
            plant(root);
            fs::create_dir(root.join("s/closed")).unwrap();
            for name in ["s/secret", "s/closed"] {
                if name == "s/secret" {
                    fs::write(root.join(name), "hidden").unwrap();
                }
                fs::set_permissions(root.join(name), Permissions::from_mode(0o000)).unwrap();
            }
            fs::write(root.join("d/extra"), "stays").unwrap();
            chown(root.join("d"), Some(NOBODY), Some(NOBODY)).unwrap();
        });
        place.as_nobody = true;
        let (code, _, errors) = place.same(&["-rlt", "--delete-after", ends[0], ends[1]]);
        assert_eq!(code, Some(23), "{errors:?}");
        let names_it =
            |line: &String| line.contains("s/secret") && line.contains("Permission denied");
        assert!(errors.iter().any(names_it), "{errors:?}");
        // What could not be listed may be what is extra.
        for name in ["d/extra", "d/sub/b", "d/z"] {
            assert!(place.path("ours").join(name).exists(), "{name}");
        }
    }
}

/// Ours removed them.
#[test]
fn sources_behind_a_link_that_leads_out_of_the_source_stay() {
    for ends in WAYS {
        let place = Place::new(PLAIN_SHELL, |root| {
            plant(root);
            fs::create_dir(root.join("out")).unwrap();
            fs::write(root.join("out/f"), "not in the source").unwrap();
            symlink("../out", root.join("s/link")).unwrap();
            symlink("../out/f", root.join("s/file")).unwrap();
            symlink("sub", root.join("s/twice")).unwrap();
        });
        let (code, ..) = place.same(&["-aL", "--remove-source-files", ends[0], ends[1]]);
        assert_eq!(code, Some(23));
        assert!(place.path("ours/out/f").exists());
        for gone in ["s/file", "s/a", "s/sub/b"] {
            assert!(!place.path("ours").join(gone).exists(), "{gone}");
        }
    }
}

#[test]
fn where_may_not_be_written_is_named() {
    for ends in WAYS {
        let mut place = Place::new(PLAIN_SHELL, |root| {
            plant(root);
            fs::create_dir(root.join("d/sub")).unwrap();
            fs::set_permissions(root.join("d/sub"), Permissions::from_mode(0o555)).unwrap();
            chown(root.join("d"), Some(NOBODY), Some(NOBODY)).unwrap();
        });
        place.as_nobody = true;
        let program = place.path("program");
        fs::copy(ours(), &program).unwrap();
        let words = ["-rl", ends[0], ends[1]];
        let theirs = place.run("theirs", Path::new("rsync"), &words);
        let found = place.run("ours", &program, &words);
        assert_eq!((found.0, theirs.0), (Some(23), Some(23)), "{found:?}\n{theirs:?}");
        let names_it =
            |line: &String| line.contains("d/sub/") && line.contains("Permission denied");
        assert!(found.2.iter().any(names_it), "{found:?}\n{theirs:?}");
        assert!(place.path("ours/d/z").exists());
    }
}

#[test]
fn a_full_disk_ends_it_without_a_temporary() {
    for ends in WAYS {
        let place = Place::new(PLAIN_SHELL, |root| {
            plant(root);
            fs::write(root.join("s/big"), noise(1, 3 << 20)).unwrap();
        });
        let place = place.with_room("1m");
        let program = place.path("program");
        fs::copy(ours(), &program).unwrap();
        let words = ["-rlt", ends[0], ends[1]];
        let theirs = place.run("theirs", Path::new("rsync"), &words);
        let found = place.run("ours", &program, &words);
        assert_eq!(found.0, theirs.0, "{found:?}\n{theirs:?}");
        let names_it =
            |line: &String| line.contains("big") && line.contains("No space left on device");
        assert!(found.2.iter().any(names_it), "{found:?}\n{theirs:?}");
        assert_eq!(temporaries(&place.path("ours/d")).unwrap(), [""; 0]);
        assert!(!place.path("ours/d/big").exists());
    }
}

#[test]
fn a_peer_that_is_none_is_told_from_one_that_goes() {
    for (script, expected) in [
        ("echo Welcome to this machine, stranger; cat > /dev/null", 2),
        ("exit 0", 12),
        ("exit 127", 127),
    ] {
        for ends in &WAYS[1..] {
            let place = Place::new(script, plant);
            let program = place.path("program");
            fs::copy(ours(), &program).unwrap();
            let words = ["-rlt", ends[0], ends[1]];
            let theirs = place.run("theirs", Path::new("rsync"), &words);
            let found = place.run("ours", &program, &words);
            assert_eq!(found.0, Some(expected), "{script}: {found:?}\n{theirs:?}");
            // The original sometimes hears of the end before it hears the shell's code (seen).
            assert!([Some(expected), Some(12)].contains(&theirs.0), "{script}: {theirs:?}");
            assert_eq!(temporaries(&place.path("ours/d")).unwrap(), [""; 0]);
        }
    }
}
