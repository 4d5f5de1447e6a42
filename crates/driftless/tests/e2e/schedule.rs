//! Full passes at the times of a cron expression.

use std::fs;

use driftless_testkit::scenario::Stage;
use driftless_testkit::wait;

use crate::DRIFTLESS;

#[test]
fn a_scheduled_pass_repairs_what_was_broken_at_the_target() {
    let stage = Stage::book(DRIFTLESS, 1);
    stage.write("d/page", "as published");
    let mut run = stage.command().arg("--schedule").arg("* * * * *").start();
    run.wait_live();
    let next = run.status().unwrap()["mirrors"][0]["next_pass"].as_f64().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!((0.0..=60.0).contains(&(next - now.as_secs_f64())), "{next} is not within a minute");
    fs::remove_file(stage.target(0).join("d/page")).unwrap();
    wait::until("the page is back", 2 * wait::GENEROUS, || {
        stage.target(0).join("d/page").exists().then_some(())
    });
    let status = run.wait_target(0, "the pass is over", |target| {
        target["passes"].as_u64() >= Some(2) && target["state"] == "live"
    });
    assert!(status["last_pass"]["error"].is_null(), "{status}");
    assert_eq!(status["last_pass"]["files_sent"], 1);
    stage.settles(&run);
}
