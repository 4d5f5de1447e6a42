use super::*;
use std::fs;

fn load_text(text: &str) -> Config {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rsyncd.conf");
    fs::write(&path, text).unwrap();
    load(&path, &[]).unwrap()
}

#[track_caller]
fn module<'a>(config: &'a Config, name: &str) -> Module<'a> {
    config.module(name.as_bytes()).expect("it was defined")
}

#[test]
fn a_module_has_the_defaults_from_where_it_began() {
    let config = load_text(
        "read only = no\ntimeout = 5\n[a]\npath = /x//\n[global]\nread only = yes\ntimeout = 9\n\
         hosts deny = *\n[b]\nhosts deny =\n",
    );
    let (a, b) = (module(&config, "a"), module(&config, "b"));
    assert!(!a.flag(Key::ReadOnly) && b.flag(Key::ReadOnly));
    assert_eq!((a.int(Key::Timeout), b.int(Key::Timeout)), (5, 9));
    // A text that was not set is looked up late; one set to nothing is not.
    assert_eq!(a.raw(Key::HostsDeny), Some(&b"*"[..]));
    assert_eq!(b.raw(Key::HostsDeny), Some(&b""[..]));
    assert_eq!(a.raw(Key::Path), Some(&b"/x"[..]));
}

#[test]
fn a_text_with_a_default_is_not_looked_up_late() {
    let config = load_text("[a]\n[global]\nlog format = %f\nlock file = /x\n");
    assert_eq!(module(&config, "a").raw(Key::LockFile), Some(&b"/var/run/rsyncd.lock"[..]));
}

#[test]
fn sections_of_one_name_are_one_module() {
    let config =
        load_text("[First Mod]\npath = /a\n[FIRSTMOD]\ncomment = x\n[GLOBAL]\nlist = no\n");
    assert_eq!(config.modules().count(), 1);
    let module = module(&config, "First Mod");
    assert_eq!(module.raw(Key::Comment), Some(&b"x"[..]));
    assert!(module.flag(Key::List));
    assert!(config.module(b"first mod").is_none());
}

#[test]
fn the_listener_knows_what_stands_before_the_first_section() {
    let config = load_text("port = 1\n[global]\nport = 2\nmotd file = /m\n[a]\nport = 3\n");
    assert_eq!(config.listener().int(Key::Port), 1);
    assert_eq!(config.globals().text(Key::MotdFile).as_deref(), Some(&b"/m"[..]));
    assert_eq!(config.listener().text(Key::MotdFile), None);
    assert_eq!(config.issues.len(), 1);
    assert_eq!(config.issues[0].log_lines(), ["Global parameter port found in module section!"]);
}

#[test]
fn what_is_wrong_is_told_and_ignored() {
    let config = load_text("[a]\nignore errors\nlist = on\nbogus = 1\n-x = 2\nread only = no\n");
    let lines: Vec<String> = config.issues.iter().flat_map(Issue::log_lines).collect();
    assert_eq!(
        lines,
        [
            "params.c:Parameter() - Ignoring badly formed line in config file: ignore errors",
            "Badly formed boolean in configuration file: \"on\".",
            "Unknown Parameter encountered: \"bogus\"",
            "IGNORING unknown parameter \"bogus\"",
            "IGNORING unknown parameter \"-x\"",
        ]
    );
    let a = module(&config, "a");
    assert!(!a.flag(Key::IgnoreErrors) && a.flag(Key::List) && !a.flag(Key::ReadOnly));
}

#[test]
fn unusable_files_say_why_and_keep_what_the_listener_needs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    for (text, line, has_listener) in [
        ("[ ]\n", "params.c:Section() - Empty section name in config file.", false),
        (
            "port = 5\n[a]\n= x\n",
            "params.c:Parameter() - Invalid parameter name in config file.",
            true,
        ),
        ("[a/b]\n", "Warning: invalid section name in configuration file: a/b", true),
        ("&bogus x\n", "Unknown directive: &bogus.", false),
    ] {
        fs::write(&path, text).unwrap();
        let bad = load(&path, &[]).unwrap_err();
        assert_eq!((bad.lines[0].as_str(), bad.listener.is_some()), (line, has_listener));
    }
}

#[test]
fn included_files_leak_nothing_and_merged_ones_are_part_of_the_text() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("d")).unwrap();
    fs::write(at("d/b.conf"), "timeout = 7\n[b]\npath = /b\n").unwrap();
    fs::write(at("d/a.conf"), "[a]\npath = /a\n").unwrap();
    fs::write(at("d/x.inc"), "comment = merged\n").unwrap();
    fs::write(
        at("c"),
        format!(
            "timeout = 3\n[m]\n&merge = {0}\npath = /m\n&include {0}\nlist = no\n[z]\n",
            at("d").display()
        ),
    )
    .unwrap();
    let config = load(&at("c"), &[]).unwrap();
    let names: Vec<&[u8]> = config.modules().map(|module| module.name()).collect();
    assert_eq!(names, [&b"m"[..], b"a", b"b", b"z"]);
    assert_eq!(module(&config, "m").raw(Key::Comment), Some(&b"merged"[..]));
    assert_eq!(module(&config, "b").int(Key::Timeout), 7);
    assert_eq!(module(&config, "z").int(Key::Timeout), 3);
    // After an include parameters are defaults.
    assert!(module(&config, "m").flag(Key::List) && !module(&config, "z").flag(Key::List));
    assert!(config.is_current());
    fs::write(at("d/c.conf"), "[c]\n").unwrap();
    assert!(!config.is_current());
}

#[test]
fn files_that_name_each_other_come_to_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    fs::write(&path, format!("&include {}\n", path.display())).unwrap();
    let bad = load(&path, &[]).unwrap_err();
    assert!(bad.lines[0].starts_with("config files include each other too deeply: "), "{bad}");
}

#[test]
fn the_command_line_outweighs_global_values_and_loses_to_modules() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    fs::write(&path, "timeout = 1\n[a]\n[b]\ntimeout = 2\n").unwrap();
    let overrides = [Override { key: Key::Timeout, value: b"8".to_vec() }];
    let config = load(&path, &overrides).unwrap();
    assert_eq!(module(&config, "a").int(Key::Timeout), 8);
    assert_eq!(module(&config, "b").int(Key::Timeout), 2);
}
