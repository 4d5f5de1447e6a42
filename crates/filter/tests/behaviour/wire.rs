//! Rules as text for a peer. The expected texts were captured from rsync 3.5.0.

use driftless_filter::{Given, ParseOptions, RuleError, Rules};

use crate::{Files, files, options};

fn filters(rules: &[&str]) -> Vec<Given> {
    rules.iter().map(|rule| Given::Filter(rule.as_bytes().to_vec())).collect()
}

fn text(texts: Result<Vec<Vec<u8>>, RuleError>) -> Vec<String> {
    texts.unwrap().into_iter().map(|text| String::from_utf8(text).unwrap()).collect()
}

#[track_caller]
fn parsed(given: &[Given], delete_excluded: bool) -> Rules {
    let options = ParseOptions { delete_excluded, ..options() };
    Rules::parse(given, &options, &mut files(&[("r2", "- merged\n")])).unwrap()
}

#[test]
fn a_push_sends_what_the_receiver_needs() {
    let given = filters(&[
        "- *.o",
        "H h",
        "S s",
        "P r",
        "R t",
        "-p per/",
        "-! neg",
        "-/ abs/x",
        "-x xat",
        ":n .rules",
        ". r2",
        "exclude,sr both",
        ":e .z",
        ": /.f",
        ": a/b/.g",
        ":w- .w",
        ":s .s",
        ":r .q",
        ":C",
        ":/p .abs",
        ":nw .nw",
        ":+ pl",
    ]);
    assert_eq!(
        text(parsed(&given, false).wire_texts(32, false)),
        [
            "- *.o",
            "-r r",
            "+r t",
            "-p per/",
            "-! neg",
            "-/ abs/x",
            "-x xat",
            ":n .rules",
            "- merged",
            "-sr both",
            "- .z",
            ": .z",
            ": /.f",
            ": a/b/.g",
            ":w- .w",
            ":r .q",
            ":C .cvsignore",
            ":/p .abs",
            ":nw .nw",
            ":+ pl",
        ]
    );
}

#[test]
fn delete_excluded_keeps_plain_rules_at_home() {
    let given = filters(&[
        "- *.o", "-r r", ": .r", ":e .z", ":w- .w", ".C r2", ":C", ":s .s", ":r .q", "-sr q/",
        ":nw .nw", ":p/ .abs", ":+ pl",
    ]);
    assert_eq!(
        text(parsed(&given, true).wire_texts(30, true)),
        ["-r r", ": .r", ": .z", ":r .q", "-sr q/", ":nw .nw", ":/p .abs"]
    );
    let given = filters(&["- *.o", "-r r", "-s s", "-sr sr", ":s .s", ":r .t", ":  .u", ":C"]);
    assert_eq!(
        text(parsed(&given, true).wire_texts_for_sender(32)),
        ["-s *.o", "-s s", "-sr sr", ":s .s", ":  .u", ":C .cvsignore"]
    );
}

#[test]
fn cvs_excludes_are_expanded_on_a_push_and_left_to_the_peer_on_a_pull() {
    let given = [Given::CvsExclude, Given::Filter(b"- a".to_vec())];
    let push = text(parsed(&given, false).wire_texts(32, false));
    assert_eq!(push[..4], ["- a", ":C .cvsignore", "-p RCS", "-p SCCS"]);
    let push = text(parsed(&given, false).wire_texts(29, false));
    assert_eq!(push[..3], ["- a", ":C .cvsignore", "- RCS"]);
    let given = [Given::CvsExclude, Given::Filter(b"- a".to_vec()), Given::Filter(b"-C".to_vec())];
    assert_eq!(text(parsed(&given, false).wire_texts_for_sender(32)), ["- a", "-C "]);
}

#[test]
fn per_directory_option_is_sent_as_its_rules() {
    for given in [vec![Given::PerDirFilter(2)], vec![Given::PerDirFilter(1); 3]] {
        let rules = parsed(&given, false);
        assert_eq!(text(rules.wire_texts_for_sender(32)), [": /.rsync-filter", "- .rsync-filter"]);
        assert!(rules.has_per_dir());
    }
}

#[test]
fn old_protocols_get_old_rules_or_none() {
    let given = filters(&["- a", "+ b/", "P c", "- - d", "H s", "- + e", "R f", "- !"]);
    assert_eq!(
        text(parsed(&given, false).wire_texts(28, false)),
        // rsync sends "!" bare, which empties the receiver's list.
        ["a", "+ b/", "c", "- - d", "- + e", "+ f", "- !"]
    );
    let too_modern =
        [(28, ": c"), (28, "-! c"), (28, "-/ c"), (28, "-p c"), (29, "-p c"), (29, ":p c")];
    for (protocol, rule) in too_modern {
        let rules = parsed(&filters(&[rule]), false);
        assert!(
            matches!(rules.wire_texts(protocol, false), Err(RuleError::TooModern)),
            "{protocol} {rule}"
        );
    }
}

#[test]
fn a_received_rule_without_a_side_protects_despite_delete_excluded() {
    use driftless_filter::{Chain, Side};
    let options = ParseOptions { delete_excluded: true, ..options() };
    let given = [Given::Received(b"- a".to_vec())];
    let rules = Rules::parse(&given, &options, &mut Files::default()).unwrap();
    let chain = Chain::root(rules.into(), Side::Receiver, &mut Files::default()).unwrap();
    assert!(chain.check(b"a", false).is_excluded());
}
