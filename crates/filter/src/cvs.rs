//! The patterns of `-C`, `--cvs-exclude`. Origin: filter reference, "CVS excludes".

/// The built-in list, in order; perishable from protocol 30.
pub(crate) const DEFAULTS: &[u8] = b"RCS SCCS CVS CVS.adm RCSLOG cvslog.* tags TAGS .make.state \
    .nse_depinfo *~ #* .#* ,* _$* *$ *.old *.bak *.BAK *.orig *.rej .del-* *.a *.olb *.o *.obj *.so \
    *.exe *.Z *.elc *.ln core .svn/ .git/ .hg/ .bzr/";

/// The per-directory file of `:C`.
pub(crate) const FILE_NAME: &[u8] = b".cvsignore";
