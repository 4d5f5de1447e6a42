//! What holds for any rules and names.

use std::sync::Arc;

use driftless_filter::{
    Chain, Given, ModuleRules, Place, RuleError, Rules, Side, SyntaxError, Verdict, decide,
    may_protect_below,
};
use driftless_tree::RelPath;
use proptest::prelude::*;

use crate::{Files, files, options};

fn filters(rules: &[&str]) -> Vec<Given> {
    rules.iter().map(|rule| Given::Filter(rule.as_bytes().to_vec())).collect()
}

fn rules(given: &[Given]) -> Arc<Rules> {
    Arc::new(Rules::parse(given, &options(), &mut Files::default()).unwrap())
}

fn chain(given: &[Given], side: Side) -> Chain {
    Chain::root(rules(given), side, &mut Files::default()).unwrap()
}

fn path(raw: &str) -> RelPath {
    RelPath::parse(raw.as_bytes()).unwrap()
}

#[track_caller]
fn syntax_error(given: Given, files: &mut Files) -> (SyntaxError, Place) {
    match Rules::parse(&[given], &options(), files) {
        Err(RuleError::Syntax { error, place }) => (error, place),
        other => panic!("{other:?}"),
    }
}

#[test]
fn hostile_patterns_end() {
    let name = vec![b'a'; 4095];
    for unit in ["a*", "**a*", "?*", "[a]**", "*", "**/*a"] {
        let pattern = unit.repeat(4000 / unit.len());
        let given = [Given::Exclude(format!("{pattern}b").into_bytes())];
        assert!(!chain(&given, Side::Sender).check(&name, false).is_excluded(), "{unit}");
    }
    let given = [Given::Exclude([b"**".to_vec(), vec![b'a'; 2000], b"*b".to_vec()].concat())];
    assert!(!chain(&given, Side::Sender).check(&name, false).is_excluded());
}

#[test]
fn text_of_a_file_is_never_shown() {
    let mut files = files(&[("f", "- a\n. g\n"), ("g", "#\n#\n-z secret\n"), ("h", "-z secret\n")]);
    let (error, place) = syntax_error(Given::Filter(b". f".to_vec()), &mut files);
    assert_eq!(error, SyntaxError::HiddenModifier);
    assert_eq!(place.to_string(), "<rule from a file named at f line 2>");
    let (_, place) = syntax_error(Given::Filter(b". h".to_vec()), &mut files);
    assert_eq!(place.to_string(), "<rule from h line 1>");
    let (error, place) = syntax_error(Given::Filter(b"exclude,pz a".to_vec()), &mut files);
    assert_eq!(error, SyntaxError::Modifier { modifier: b'z', position: 9 });
    assert_eq!(place, Place::Text(b"exclude,pz a".to_vec()));
}

#[test]
fn rules_that_rsync_refuses_are_refused() {
    for text in [
        "zap",
        "_",
        " - a",
        ",a",
        "excludefoo",
        "-",
        "-,",
        "- ",
        "exclude",
        "exclude,",
        ".",
        ":",
        "! ",
        "clear ",
        "!_",
        "exclude\ta",
        "-\ta",
        "-z a",
        "-e a",
        "-n a",
        "-w a",
        "-- a",
        ".! a",
        ":! a",
        "HC",
        "P,C",
        "Ps a",
        "Hr a",
        ".C- a",
        ":-C a",
        ":CC",
        ":-- a",
        "-foo",
    ] {
        syntax_error(Given::Filter(text.as_bytes().to_vec()), &mut Files::default());
    }
    for text in ["- ", "+ "] {
        syntax_error(Given::Exclude(text.as_bytes().to_vec()), &mut Files::default());
    }
}

#[test]
fn files_that_read_each_other_end() {
    let mut files = files(&[("loop", "- a\n. loop\n"), (".loop", "- a\n. .loop\n")]);
    let result = Rules::parse(&filters(&[". loop"]), &options(), &mut files);
    assert!(matches!(result, Err(RuleError::Nesting { limit: 32, .. })), "{result:?}");
    let result = Chain::root(rules(&filters(&[": .loop"])), Side::Sender, &mut files);
    assert!(matches!(result, Err(RuleError::Nesting { limit: 32, .. })), "{result:?}");
}

#[test]
fn directory_files_that_declare_more_and_more_are_cut_off() {
    let pairs: Vec<_> =
        (0..100).map(|n| (format!(".r{n}"), format!("- x{n}\n: .r{}\n", n + 1))).collect();
    let pairs: Vec<_> = pairs.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let chain = Chain::root(rules(&filters(&[": .r0"])), Side::Sender, &mut files(&pairs)).unwrap();
    assert!(chain.check(b"x20", false).is_excluded());
    assert_eq!(chain.check(b"x90", false), Verdict::NoMatch);
    assert_eq!(chain.warnings().len(), 1);
}

#[test]
fn over_long_patterns_are_dropped_with_a_warning() {
    let given = [Given::Exclude(vec![b'x'; 4096]), Given::Exclude(vec![b'*'; 4095])];
    let rules = rules(&given);
    assert_eq!(rules.warnings().len(), 1);
    assert!(!rules.is_empty());
}

#[test]
fn an_event_is_decided_as_a_walk_would() {
    let list = rules(&filters(&[": .r", "+ /a/b/keep", "- /a/b", "P /p"]));
    let mut files = files(&[("c/.r", "- /x\n- tmp\n")]);
    let mut hidden = |raw: &str| {
        decide(&list, Side::Sender, &path(raw), false, &mut files).unwrap().is_excluded()
    };
    assert!(hidden("a/b/keep"), "its directory is hidden");
    assert!(hidden("c/x"));
    assert!(!hidden("c/d/x"));
    assert!(hidden("c/d/tmp/y"));
    assert!(!hidden("p"), "a rule of the other side");
}

#[test]
fn extended_attributes_have_rules_of_their_own() {
    let given = filters(&["-x! user.b", "- user.c"]);
    let chain = chain(&given, Side::Sender);
    assert!(rules(&given).has_xattr());
    assert!(chain.check_xattr(b"user.a").is_excluded());
    assert!(!chain.check_xattr(b"user.b").is_excluded());
    assert_eq!(chain.check(b"user.b", false), Verdict::NoMatch);
    assert!(chain.check(b"user.c", false).is_excluded());
}

#[test]
fn a_directory_that_no_rule_can_reach_is_free_to_delete() {
    let below = |rule: &str, dir: &str| may_protect_below(&rules(&filters(&[rule])), &path(dir));
    assert!(!below("- /logs/*.tmp", "site"));
    assert!(below("- /logs/*.tmp", "logs"));
    assert!(below("- /logs/a/b", "logs"));
    assert!(below("- /l*/b", "logs/c"));
    assert!(below("- *.key", "site"));
    assert!(below("-! /logs/a", "site"));
    assert!(below(": .r", "site"));
    assert!(!below("+ *.key", "site"));
    assert!(!below("H *.key", "site"));
    assert!(!below(":s .r", "site"));
    assert!(!may_protect_below(&rules(&[]), &path("site")));
}

#[test]
fn a_module_anchors_slashed_patterns_and_takes_directories_whole() {
    let given = ModuleRules {
        filter: b"- /sub/ + a\n-_b".to_vec(),
        include: b"ok.secret".to_vec(),
        exclude_from: b"list".to_vec(),
        exclude: b"inc/*.secret *.secret".to_vec(),
        ..ModuleRules::default()
    };
    let options = driftless_filter::ParseOptions { root: b"/".to_vec(), ..options() };
    let rules = Rules::parse_module(&given, &options, &mut files(&[("list", "/l\n")])).unwrap();
    let chain = Chain::root(rules.into(), Side::Sender, &mut Files::default()).unwrap();
    for (name, is_dir, excluded) in [
        ("sub", true, true),
        ("sub", false, false),
        ("sub/x", false, true),
        ("a", false, false),
        ("b", false, true),
        ("l", false, true),
        ("ok.secret", false, false),
        ("d/x.secret", false, true),
    ] {
        assert_eq!(chain.check(name.as_bytes(), is_dir).is_excluded(), excluded, "{name}");
    }
}

/// Rules whose meaning must survive the wire.
fn sendable() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop::sample::select(vec![
        "-", "+", "H", "S", "P", "R", "-!", "-/", "-p", "-s", "-r", "-sr", "+!", "+sr", "-x",
    ]);
    let piece =
        prop::sample::select(vec!["a", "b", "*", "**", "?", "/", "[a]", " ", "_", "!", "-"]);
    (kind, prop::collection::vec(piece, 1..5))
        .prop_map(|(kind, pieces)| format!("{kind} {}", pieces.concat()).into_bytes())
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec!["a", "b", "ab", "/", "-", "!", " ", "_"]);
    prop::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn the_peer_understands_what_was_sent(
        texts in prop::collection::vec(sendable(), 1..6),
        names in prop::collection::vec((name(), any::<bool>()), 1..8),
        delete_excluded: bool,
    ) {
        let given: Vec<_> = texts.into_iter().map(Given::Filter).collect();
        let options = driftless_filter::ParseOptions { delete_excluded, ..options() };
        let parse = |given: &[Given]| {
            Arc::new(Rules::parse(given, &options, &mut Files::default()).unwrap())
        };
        let ours = parse(&given);
        for (side, texts) in [
            (Side::Receiver, ours.wire_texts(32, delete_excluded).unwrap()),
            (Side::Sender, ours.wire_texts_for_sender(32).unwrap()),
        ] {
            let received: Vec<_> = texts.into_iter().map(Given::Received).collect();
            let theirs = Chain::root(parse(&received), side, &mut Files::default()).unwrap();
            let ours = Chain::root(Arc::clone(&ours), side, &mut Files::default()).unwrap();
            for (name, is_dir) in &names {
                prop_assert_eq!(ours.check(name, *is_dir), theirs.check(name, *is_dir));
            }
        }
    }

    #[test]
    fn no_text_makes_parsing_or_matching_panic(
        texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..4),
        file in prop::collection::vec(any::<u8>(), 0..80),
        name in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut files = Files([(b"f".to_vec(), file)].into());
        for text in texts {
            for given in [
                Given::Filter(text.clone()),
                Given::Exclude(text.clone()),
                Given::Received(text),
                Given::ExcludeFrom(b"f".to_vec()),
                Given::Filter(b": f".to_vec()),
                Given::Filter(b":C f".to_vec()),
            ] {
                let Ok(rules) = Rules::parse(&[given], &options(), &mut files) else { continue };
                let _ = rules.wire_texts(32, false);
                let Ok(chain) = Chain::root(rules.into(), Side::Sender, &mut files) else { continue };
                chain.check(&name, true);
            }
        }
    }
}
