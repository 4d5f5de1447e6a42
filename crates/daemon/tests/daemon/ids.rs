//! Owners by number or by name, in lists of every form.

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
            }
        });
        for form in [&["-a"][..], &["-a", "--no-inc-recursive"]] {
            for protocol in ["--protocol=32", "--protocol=31", "--protocol=30", "--protocol=29"] {
                let words = |from, to| [form, &[protocol, "--delete-before", from, to]].concat();
                let pull = pair.same(&words("@URL@/w/", "got/"));
                let push = pair.same(&words("src/", "@URL@/w/t/"));
                assert_eq!((pull.code, push.code), (0, 0), "{setting} {form:?} {protocol}");
            }
        }
    }
}
