//! Owners by number or by name, in lists of every form.

use std::process::Command;

use driftless_testkit::compare::{CompareOptions, differences};

use crate::pair::{Pair, plant};

#[test]
fn a_module_without_names_of_owners_keeps_the_form_of_lists() {
    for setting in ["use chroot = yes", "use chroot = no", "use chroot = no\nnumeric ids = yes"] {
        let conf =
            format!("uid = root\ngid = root\n[w]\npath = @ROOT@/w\nread only = no\n{setting}\n");
        let pair = Pair::start(&conf, |root| {
            plant(root);
            for (at, name) in ["w/a.txt", "w/sub/b.txt", "src/one", "src/d/two"].iter().enumerate()
            {
                let id = Some([0, 1, 2, 54_321][at]);
                std::os::unix::fs::chown(root.join(name), id, id).unwrap();
                let path = root.join(name);
                for (program, words) in [
                    ("setfacl", &["-m", "u:1:r,g:54321:rw"][..]),
                    ("setfattr", &["-n", "user.of", "-v", "somebody"]),
                ] {
                    let done = Command::new(program).args(words).arg(&path).status();
                    assert!(done.unwrap().success(), "{program}");
                }
            }
        });
        for form in [&["-a"][..], &["-a", "--no-inc-recursive"], &["-aAX", "--no-inc-recursive"]] {
            // Before protocol 30 there are no ACLs.
            let last = if form.contains(&"-aAX") { 3 } else { 4 };
            for protocol in
                &["--protocol=32", "--protocol=31", "--protocol=30", "--protocol=29"][..last]
            {
                let words = |from, to| [form, &[protocol, "--delete-before", from, to]].concat();
                let pull = pair.same(&words("@URL@/w/", "got/"));
                let push = pair.same(&words("src/", "@URL@/w/t/"));
                assert_eq!((pull.code, push.code), (0, 0), "{setting} {form:?} {protocol}");
            }
        }
        // What ACLs and attributes there are went both ways.
        let options = CompareOptions { xattrs: true, times: false, ..CompareOptions::default() };
        let (ours, at) = (&pair.ours, |name: &str| pair.ours.path(name));
        assert_eq!(ours.client(&["-aAX", "--delete", "@URL@/w/sub/", "got2/"]).code, 0);
        assert_eq!(ours.client(&["-aAX", "--delete", "src/", "@URL@/w/sub2/"]).code, 0);
        for (a, b) in [("w/sub", "got2"), ("src", "w/sub2")] {
            let found = differences(&at(a), &at(b), &options).unwrap();
            assert!(found.is_empty(), "{setting}: {found:#?}");
        }
    }
}
