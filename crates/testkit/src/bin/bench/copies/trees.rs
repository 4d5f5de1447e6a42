//! The trees and files that are copied.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use driftless_testkit::plant;

const MIB: usize = 1024 * 1024;

/// 100,000 files of 0.2 to 20 KB in 2,000 folders.
pub fn site(root: &Path) {
    let mut random = fastrand::Rng::with_seed(1);
    let bytes = plant::noise(2, 64 * 1024);
    for folder in 0..2_000 {
        let dir = root.join(format!("section{:02}/folder{folder:04}", folder % 40));
        fs::create_dir_all(&dir).expect("the tree can be made");
        for file in 0..50 {
            // Many short ones and few long ones.
            let len = (200.0 * 100f64.powf(random.f64())) as usize;
            let start = random.usize(..bytes.len() - len);
            fs::write(dir.join(format!("page{file:03}.html")), &bytes[start..start + len])
                .expect("the tree can be made");
        }
    }
}

/// Gives every 100th file of [`site`] another time.
pub fn touch_some(root: &Path, seconds: i64) {
    for file in (0..100_000).step_by(100) {
        let (folder, file) = (file / 50, file % 50);
        let name = format!("section{:02}/folder{folder:04}/page{file:03}.html", folder % 40);
        plant::set_mtime(&root.join(name), seconds, 0);
    }
}

/// 1,000,000 empty files in a tree of 10 × 10 × 10 × 10 × 5 folders.
pub fn deep(root: &Path) {
    for folder in 0..50_000 {
        let [a, b, c, d, e] =
            [folder % 10, folder / 10 % 10, folder / 100 % 10, folder / 1000 % 10, folder / 10_000];
        let dir = root.join(format!("a{a}/b{b}/c{c}/d{d}/e{e}"));
        fs::create_dir_all(&dir).expect("the tree can be made");
        for file in 0..20 {
            File::create(dir.join(format!("file{file:02}"))).expect("the tree can be made");
        }
    }
}

/// 50,000 small files in 500 folders.
pub fn doomed(root: &Path) {
    for folder in 0..500 {
        let dir = root.join(format!("d{folder:03}"));
        fs::create_dir_all(&dir).expect("the tree can be made");
        for file in 0..100 {
            fs::write(dir.join(format!("f{file:02}")), b"to be deleted\n")
                .expect("the tree can be made");
        }
    }
}

/// A file of so many MiB that do not compress.
pub fn noise(path: &Path, mib: usize) {
    let mut file = File::create(path).expect("the file can be made");
    for piece in 0..mib {
        file.write_all(&plant::noise(piece as u64, MIB)).expect("the file can be written");
    }
}

/// Writes other bytes over one percent of a file, 4 KiB at a time, at random places.
pub fn edit_some(path: &Path, mib: usize) {
    let file = File::options().write(true).open(path).expect("it was made");
    let mut random = fastrand::Rng::with_seed(3);
    for edit in 0..mib * 256 / 100 {
        let at = random.usize(..mib * MIB - 4096);
        file.write_all_at(&plant::noise(1 << 32 | edit as u64, 4096), at as u64)
            .expect("the file can be written");
    }
}

/// A copy of a file with 1 KiB in front.
pub fn with_start(from: &Path, to: &Path) {
    let mut target = File::create(to).expect("the file can be made");
    target.write_all(&plant::noise(7, 1024)).expect("the file can be written");
    std::io::copy(&mut File::open(from).expect("it was made"), &mut target)
        .expect("the file can be written");
}

/// A file of text, words of a vocabulary whose frequencies fall as in a language.
pub fn text(path: &Path, mib: usize) {
    let mut random = fastrand::Rng::with_seed(5);
    let words: Vec<Vec<u8>> = (0..20_000)
        .map(|_| (0..random.usize(2..10)).map(|_| random.lowercase() as u8).collect())
        .collect();
    let mut file = File::create(path).expect("the file can be made");
    let mut piece = Vec::new();
    for _ in 0..mib {
        piece.clear();
        while piece.len() < MIB {
            let rank = (words.len() as f64).powf(random.f64()) as usize - 1;
            piece.extend_from_slice(&words[rank]);
            piece.push(if random.u8(..12) == 0 { b'\n' } else { b' ' });
        }
        piece.truncate(MIB);
        file.write_all(&piece).expect("the file can be written");
    }
}

/// Removes what is there.
pub fn remove(path: &Path) {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
        _ => {}
    }
}

/// Makes an empty directory of it.
pub fn empty(dir: &Path) {
    remove(dir);
    fs::create_dir_all(dir).expect("the directory can be made");
}
