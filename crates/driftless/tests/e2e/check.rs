//! `driftless check`: what mirrors need, and whether targets answer.

use std::fs;
use std::process::{Command, Output};

use driftless_testkit::scenario::Stage;
use serde_json::Value;

use crate::DRIFTLESS;

fn check(words: &[&str]) -> Output {
    Command::new(DRIFTLESS).arg("check").args(words).output().expect("it is built")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("it prints JSON")
}

#[test]
fn a_source_that_can_be_watched_is_sufficient() {
    let stage = Stage::book(DRIFTLESS, 1);
    for name in ["a/b/c", "a/d"] {
        fs::create_dir_all(stage.at(name)).unwrap();
    }
    let source = stage.source().display().to_string();
    let output = check(&[&source, "--json"]);
    let report = json(&output);
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert_eq!(report["sufficient"], true, "{report}");
    assert_eq!(report["mirrors"][0]["backend"], "inotify", "{report}");
    assert!(report["mirrors"][0]["directories"].as_u64().is_some_and(|n| n >= 5), "{report}");
    let text = String::from_utf8(check(&[&source]).stdout).unwrap();
    assert!(text.contains("directories, by inotify"), "{text}");
    assert!(text.ends_with("all is sufficient\n"), "{text}");
    for number in 0..8_192 {
        fs::create_dir(stage.at(&format!("d{number}"))).unwrap();
    }
    let report = json(&check(&[&source, "--json"]));
    assert_eq!(report["mirrors"][0]["backend"], "fanotify", "{report}");
    assert_eq!(report["limits"][0]["sysctl"], "fs.fanotify.max_user_groups", "{report}");
}

#[test]
fn a_source_that_is_not_there_is_told() {
    let output = check(&["/nowhere/at/all"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("! cannot open") && text.contains("No such file"), "{text}");
}

#[test]
fn targets_are_reached_and_nothing_is_transferred() {
    let stage = Stage::book(DRIFTLESS, 1);
    stage.write("page", "1");
    let (url, password) = (stage.url(0), stage.password_file());
    let nobody = url.replace("/web1", "/no-such-module");
    let file = stage.outside().join("driftless.toml");
    let config = |targets: &str| {
        format!(
            "[[mirror]]\nname = \"www\"\nsource = {:?}\ntargets = [{targets}]\npassword-file = {:?}\n",
            stage.source().display().to_string(),
            password.display().to_string(),
        )
    };
    let path = file.display().to_string();
    fs::write(&file, config(&format!("{url:?}"))).unwrap();
    let output = check(&["-c", &path, "--json"]);
    let report = json(&output);
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert_eq!(report["mirrors"][0]["targets"][0]["error"], Value::Null, "{report}");
    assert!(fs::read_dir(stage.target(0)).unwrap().next().is_none(), "nothing is transferred");

    fs::write(&file, config(&format!("{url:?}, {nobody:?}, \"rsync://127.0.0.1:1/m\""))).unwrap();
    let output = check(&["-c", &path]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&format!("  {url} answers")), "{text}");
    assert!(text.contains(&format!("  ! {nobody}: ")), "{text}");
    assert!(text.contains("  ! rsync://127.0.0.1:1/m: "), "{text}");

    fs::write(&file, "[[mirror]]\nsource = \"/a\"\ntarget = []\n").unwrap();
    let output = check(&["-c", &path]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("driftless.toml:3:") && said.contains("targets"), "{said}");
}
