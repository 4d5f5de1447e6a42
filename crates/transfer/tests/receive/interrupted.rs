//! Sessions that end in the middle of a file.

use std::fs;
use std::os::unix::fs::MetadataExt;

use driftless_proto::sums::SumHead;
use driftless_transfer::PushError;

use crate::fake::{Script, options, receive_from};

fn half_a_file() -> Script {
    Script::new()
        .dir(b".")
        .file(b"f", 300_000)
        .end()
        .answer(1, 0xa000)
        .head(SumHead::default())
        .literal(&[7; 150_000])
}

#[test]
fn half_a_file_is_gone_unless_it_is_to_be_kept() {
    let folder = tempfile::tempdir().unwrap();
    assert!(receive_from(&half_a_file(), false, &options(), folder.path()).is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn half_a_file_is_kept_under_its_name_with_a_time_that_no_file_has() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options();
    options.write.partial = true;
    let failure = receive_from(&half_a_file(), false, &options, folder.path());
    assert!(matches!(failure.unwrap_err().error, PushError::Closed { .. }));
    let meta = fs::metadata(folder.path().join("f")).unwrap();
    assert_eq!((meta.len(), meta.mtime()), (150_000, 0));
}

#[test]
fn half_a_file_is_kept_in_the_partial_directory() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options();
    options.write.partial = true;
    options.write.partial_dir = Some(b".part".to_vec());
    assert!(receive_from(&half_a_file(), false, &options, folder.path()).is_err());
    assert_eq!(fs::metadata(folder.path().join(".part/f")).unwrap().len(), 150_000);
    assert!(!folder.path().join("f").exists());
}
