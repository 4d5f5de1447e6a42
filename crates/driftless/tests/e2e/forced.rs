//! The same changes with every protocol, digest, checksum and compression forced.

use std::fs;

use driftless_testkit::arb::Ops;
use driftless_testkit::netfault::Proxy;
use driftless_testkit::plant;
use driftless_testkit::scenario::Stage;

use crate::DRIFTLESS;

#[track_caller]
fn mirrors_with(args: &[&str]) {
    mirrors(Stage::book(DRIFTLESS, 1), args);
}

/// Protocol 30 carries times in whole seconds only.
#[track_caller]
fn mirrors_with_protocol_30(args: &[&str]) {
    let mut stage = Stage::book(DRIFTLESS, 1);
    stage.compare.nanoseconds = false;
    mirrors(stage, &[&["--protocol", "30"], args].concat());
}

#[track_caller]
fn mirrors(mut stage: Stage, args: &[&str]) {
    stage.compare.hard_links = true;
    let mut ops = Ops::new(1, &stage.source(), &stage.outside());
    ops.burst(120);
    let mut large = plant::noise(4, 3_000_000);
    stage.write("large", &large);
    let args = [&["--hard-links", "--max-delete", "none"], args].concat();
    let run = stage.live(&args);
    stage.targets_equal_source();

    large[1_500_000] ^= 0xff;
    stage.write("large", &large);
    run.flush_everywhere();
    stage.targets_equal_source();

    fs::rename(stage.at("large"), stage.at("large-renamed")).unwrap();
    ops.burst(180);
    stage.settles(&run);
}

#[test]
fn protocol_30() {
    mirrors_with_protocol_30(&[]);
}

/// Two versions of one second look alike to a comparison of sizes and whole seconds.
#[test]
fn with_protocol_30_a_version_that_the_publisher_did_not_see_is_found_by_its_content() {
    let mut stage = Stage::book(DRIFTLESS, 1);
    stage.compare.nanoseconds = false;
    stage.write("page", "0000");
    plant::set_mtime(&stage.at("page"), 1_600_000_000, 1);
    stage.live(&["--protocol", "30"]).kill9();
    stage.write("page", "0001");
    plant::set_mtime(&stage.at("page"), 1_600_000_000, 2);
    let run = stage.live(&["--protocol", "30"]);
    stage.settles(&run);
}

#[test]
fn protocol_31() {
    mirrors_with(&["--protocol", "31"]);
}

#[test]
fn protocol_32() {
    mirrors_with(&["--protocol", "32"]);
}

#[test]
fn checksum_xxh128() {
    mirrors_with(&["--checksum-choice", "xxh128"]);
}

#[test]
fn checksum_xxh3() {
    mirrors_with(&["--checksum-choice", "xxh3"]);
}

#[test]
fn checksum_xxh64() {
    mirrors_with(&["--checksum-choice", "xxh64"]);
}

#[test]
fn checksum_md5() {
    mirrors_with(&["--checksum-choice", "md5"]);
}

#[test]
fn checksum_md4() {
    mirrors_with(&["--checksum-choice", "md4"]);
}

#[test]
fn checksum_sha1() {
    mirrors_with(&["--checksum-choice", "sha1"]);
}

#[test]
fn compression_negotiated() {
    mirrors_with(&["--compress"]);
}

#[test]
fn compression_zstd() {
    mirrors_with(&["--compress", "--compress-choice", "zstd"]);
}

#[test]
fn compression_lz4() {
    mirrors_with(&["--compress", "--compress-choice", "lz4"]);
}

#[test]
fn compression_zlibx() {
    mirrors_with(&["--compress", "--compress-choice", "zlibx"]);
}

#[test]
fn compression_zlib() {
    mirrors_with(&["--compress", "--compress-choice", "zlib"]);
}

#[test]
fn the_oldest_protocol_with_compression() {
    mirrors_with_protocol_30(&["--compress"]);
}

/// A stock daemon takes its strongest digest that the client offers: a proxy leaves only one.
#[test]
fn each_digest_of_the_password() {
    for digest in ["sha512", "sha256", "sha1", "md5", "md4"] {
        let stage = Stage::with_module(DRIFTLESS, |module| module.set("auth digest", digest));
        let proxy = Proxy::offering(stage.daemons[0].port(), 0, digest);
        let mut run =
            stage.command_to(&[stage.daemons[0].url_through(proxy.port(), "web1")]).start();
        run.wait_live();
        stage.write("page", digest);
        stage.settles(&run);
    }
}

#[test]
fn a_digest_below_the_modules_floor_is_told() {
    let stage = Stage::with_module(DRIFTLESS, |module| module.set("auth digest", "sha512"));
    let proxy = Proxy::offering(stage.daemons[0].port(), 0, "md5");
    let mut run = stage.command_to(&[stage.daemons[0].url_through(proxy.port(), "web1")]).start();
    run.wait_error(0, "auth");
}
