# The two commands a newcomer needs are `make demo` and `make test`.

CARGO ?= cargo
# What the tests run against: the real programs.
PROGRAMS = rsync lsyncd inotifywait inotifywatch fsnotifywait fsnotifywatch cc unshare setpriv chattr mount bindfs \
  mkfs.ext4 mkfs.xfs btrfs ssh sshd ssh-keygen setfacl setfattr getfattr pgrep strace
PACKAGES = rsync lsyncd inotify-tools gcc libc6-dev util-linux e2fsprogs mount bindfs xfsprogs btrfs-progs \
  openssh-server openssh-client acl attr procps strace

.PHONY: demo test lint unit e2e forced interop fuzz bench soak programs

# A source, a daemon with three modules and a live mirror, in a temporary folder.
demo:
	$(CARGO) build --release --package driftless
	target/release/driftless demo

test: programs lint unit e2e

# In a chroot into a directory that is no mount point, fanotify is refused: there the tests' trees get a
# mount to be on.
ON_A_MOUNT = sh -c ' \
  awk '"'"'$$5 == "/" { found = 1 } END { exit !found }'"'"' /proc/self/mountinfo && exec "$$@"; \
  trees=$${TMPDIR:-/tmp}; mount --bind "$$trees" "$$trees" || exit 1; \
  "$$@"; code=$$?; umount --lazy "$$trees"; exit $$code' sh

lint:
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	! $(CARGO) tree --workspace --edges normal | grep -E 'libz-sys|libz-ng-sys|openssl-sys|aws-lc'

unit:
	$(ON_A_MOUNT) $(CARGO) test --workspace --exclude driftless

# The whole program against real daemons.
e2e:
	$(ON_A_MOUNT) $(CARGO) test --package driftless

# The same with each protocol, checksum and compression forced on all mirrors, and with each digest
# for passwords.
FORCED = --protocol=30 --protocol=31 \
  --checksum-choice=xxh128 --checksum-choice=xxh3 --checksum-choice=xxh64 --checksum-choice=md5 \
  --checksum-choice=md4 --checksum-choice=sha1 \
  --compress-choice=zstd --compress-choice=lz4 --compress-choice=zlibx --compress-choice=zlib
DIGESTS = sha512 sha256 sha1 md5 md4
forced: programs
	for option in $(FORCED); do echo "$$option"; \
	  DRIFTLESS_FORCED=$$option $(CARGO) test --package driftless --test e2e || exit 1; \
	done
	for digest in $(DIGESTS); do echo "$$digest"; \
	  DRIFTLESS_FORCED_DIGEST=$$digest $(CARGO) test --package driftless --test e2e -- \
	    --skip forced:: || exit 1; \
	done

# driftless rsync at each end beside rsync at both: every way, protocol and option set.
interop: programs
	DRIFTLESS_FULL=1 $(CARGO) test --package driftless-rsync --test face --test interop

# Each fuzz target for a minute. Needs a nightly compiler; `cargo install cargo-fuzz` first.
fuzz:
	cd fuzz && for target in $$($(CARGO) +nightly fuzz list); do \
	  mkdir -p corpus/$$target seeds/$$target; \
	  $(CARGO) +nightly fuzz run $$target corpus/$$target seeds/$$target -- \
	    -max_total_time=$${SECONDS_EACH:-60} -timeout=20 || exit 1; \
	done

# The speed table, side by side with the programs it replaces, in one run.
bench: programs
	$(CARGO) build --release --package driftless --package driftless-testkit
	target/release/bench --driftless target/release/driftless $(BENCH)

# The random-operation tests with many seeds, the watcher's for a minute each, and the daemon among
# 10,000 hostile connections, 200 mixed clients and somebody who swaps what it serves.
soak: programs
	DRIFTLESS_FLOOD=10000 DRIFTLESS_SOAK=120 DRIFTLESS_RACES=50000 \
	  $(CARGO) test --package driftless-daemon --test daemon -- flood:: soak:: races::
	for seed in $$(seq 1 $${SEEDS:-100}); do \
	  WATCH_SEED=$$seed $(CARGO) test --package driftless-watch --test watch -- loss:: || exit 1; \
	done
	DRIFTLESS_KILLS=200 $(CARGO) test --package driftless-rsync --test interop -- killed::
	WATCH_SECONDS=60 $(CARGO) test --package driftless-watch --test watch -- loss::
	for seed in $$(seq 1 $${SEEDS:-100}); do \
	  DRIFTLESS_SEED=$$seed $(CARGO) test --package driftless --test e2e -- property:: || exit 1; \
	done

# Installs what is missing when it may, says what is missing when it may not.
programs:
	@missing=; for p in $(PROGRAMS); do command -v $$p >/dev/null || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy $(PACKAGES); \
	fi; \
	missing=; for p in $(PROGRAMS); do command -v $$p >/dev/null || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	  echo "missing programs:$$missing" >&2; \
	  echo "install these packages as root, then try again: $(PACKAGES)" >&2; exit 1; \
	fi
