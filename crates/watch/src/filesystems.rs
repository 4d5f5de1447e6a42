//! File systems whose files can change without this kernel knowing.

use std::os::fd::BorrowedFd;

/// The name of the file system that `fd` is on when other machines, or a program of its own, can
/// change what is on it: no event tells of that.
pub(crate) fn remote(fd: BorrowedFd<'_>) -> Option<&'static str> {
    // The kernel's numbers have 32 bits, in a type that differs between architectures.
    let number = rustix::fs::fstatfs(fd).ok()?.f_type as u32;
    name(number)
}

fn name(number: u32) -> Option<&'static str> {
    Some(match number {
        0x6969 => "NFS",
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => "SMB",
        0x6573_5546 => "FUSE",
        0x0102_1997 => "9p",
        0x00c3_6400 => "Ceph",
        0x5346_414f | 0x6b41_4653 => "AFS",
        0x0bd0_0bd0 => "Lustre",
        0x0116_1970 => "GFS2",
        0x7461_636f => "OCFS2",
        0x7375_7245 => "Coda",
        0x786f_4256 => "a shared folder of VirtualBox",
        0xbacb_acbc => "a shared folder of VMware",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn network_file_systems_are_known_by_number() {
        // The numbers that statfs(2) and the kernel's magic.h list.
        for (number, known) in [
            (0x6969, "NFS"),
            (0x517b, "SMB"),
            (0xff53_4d42, "SMB"),
            (0xfe53_4d42, "SMB"),
            (0x6573_5546, "FUSE"),
            (0x0102_1997, "9p"),
            (0x00c3_6400, "Ceph"),
            (0x5346_414f, "AFS"),
            (0x6b41_4653, "AFS"),
            (0x0bd0_0bd0, "Lustre"),
            (0x0116_1970, "GFS2"),
            (0x7461_636f, "OCFS2"),
            (0x7375_7245, "Coda"),
        ] {
            assert_eq!(name(number), Some(known), "{number:x}");
        }
        for local in [0xef53, 0x0102_1994, 0x5846_5342, 0x9123_683e, 0x794c_7630] {
            assert_eq!(name(local), None, "{local:x}: ext4, tmpfs, xfs, btrfs, overlay");
        }
        let proc = std::fs::File::open("/proc").unwrap();
        assert_eq!(remote(proc.as_fd()), None);
    }
}
