//! What rsync 3.5.0 did with patterns and whole commands, recorded.

use std::sync::Arc;

use driftless_filter::{Given, RuleError, Rules, Side, Verdict, decide};
use driftless_tree::RelPath;
use serde_json::Value;

use crate::model::{ROOT, World, run};
use crate::{Files, options};

fn cases(kind: &str) -> Vec<Value> {
    let all: Vec<Value> =
        serde_json::from_str(include_str!("../data/filter-cases.json")).expect("valid JSON");
    all.into_iter().filter(|case| case["kind"] == kind).collect()
}

fn strings(value: &Value) -> Vec<String> {
    let list = value.as_array().expect("a list");
    list.iter().map(|text| text.as_str().expect("a string").replace("$ROOT", ROOT)).collect()
}

#[test]
fn single_patterns_match_what_rsync_matched() {
    let cases = cases("match");
    assert_eq!(cases.len(), 166);
    let mut wrong = Vec::new();
    for case in &cases {
        let pattern = case["pattern"].as_str().expect("a string");
        let path = RelPath::parse(case["path"].as_str().expect("a string").as_bytes()).unwrap();
        let is_dir = case["is_dir"].as_bool().expect("a bool");
        let rules = |prefix: &str| {
            let given = [Given::Filter(format!("{prefix}{pattern}").into_bytes())];
            Arc::new(Rules::parse(&given, &options(), &mut Files::default()).unwrap())
        };
        let chain = driftless_filter::Chain::root(rules("+ "), Side::Sender, &mut Files::default())
            .unwrap();
        let matches = chain.check(path.as_bytes(), is_dir) == Verdict::Included;
        let excluded = decide(&rules("- "), Side::Sender, &path, is_dir, &mut Files::default())
            .unwrap()
            .is_excluded();
        if Value::Bool(matches) != case["matches"] || Value::Bool(excluded) != case["excluded"] {
            wrong.push(format!("{} matches={matches} excluded={excluded}", case["id"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn whole_commands_end_as_with_rsync() {
    let cases = cases("scenario");
    assert_eq!(cases.len(), 135);
    let wrong: Vec<String> = cases.iter().filter_map(|case| check(case).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn check(case: &Value) -> Result<(), String> {
    let mut world = World::default();
    for (place, dir) in [("src", "/src/"), ("dst", "/dst/"), ("other_files", "/")] {
        world.add(&format!("{ROOT}{dir}"), "");
        for (name, content) in case[place].as_object().expect("an object") {
            world.add(&format!("{ROOT}{dir}{name}"), content.as_str().expect("a string"));
        }
    }
    let cvsignore = case["env"]["CVSIGNORE"].as_str().map(|text| text.as_bytes().to_vec());
    let outcome = run(&strings(&case["args"]), world, cvsignore);
    let (rc, message) = match &outcome {
        Ok(_) => (0, String::new()),
        Err(error) => (exit_code(error), error.to_string()),
    };
    let fail = |what: String| Err(format!("{} {}: {what}", case["id"], case["name"]));
    if case["rc"] != rc {
        return fail(format!("rc {rc} {message}"));
    }
    if case["stderr"].is_array() && !strings(&case["stderr"])[0].contains(&message) {
        return fail(format!("message {message:?}"));
    }
    if let Ok(outcome) = outcome {
        let mut dst = strings(&case["dst_after"]);
        dst.sort();
        let mut deleted = strings(&case["deleted"]);
        deleted.sort();
        if outcome.dst != dst || outcome.deleted != deleted {
            return fail(format!("{outcome:?}"));
        }
    }
    Ok(())
}

fn exit_code(error: &RuleError) -> i32 {
    match error {
        RuleError::Syntax { .. } => 1,
        RuleError::Open { .. } | RuleError::Nesting { .. } => 11,
        RuleError::TooModern => 2,
    }
}
