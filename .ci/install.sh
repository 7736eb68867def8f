#!/usr/bin/env bash
# `make install` puts everything where a site expects it, runnable, and `make uninstall` takes all of it away again.
set -euo pipefail
cd "$(dirname "$0")/.."
dest=$(mktemp -d)
trap 'rm -rf "$dest"' EXIT
at=(DESTDIR="$dest" PREFIX=/opt/burst SLURM_PLUGIN_DIR=/usr/lib/slurm)
there() { (cd "$dest" && find . ! -type d -printf '%M %P\n' | LC_ALL=C sort -k2); }
make -s install "${at[@]}"
diff - <(there) <<'EOF'
-rwxr-xr-x opt/burst/bin/burstctl
-rw-r--r-- opt/burst/lib/systemd/system/burst-node.service
-rwxr-xr-x opt/burst/sbin/burst-node
-rwxr-xr-x opt/burst/sbin/burst-power
lrwxrwxrwx opt/burst/sbin/burst-resume
lrwxrwxrwx opt/burst/sbin/burst-suspend
-rw-r--r-- opt/burst/share/bash-completion/completions/burstctl
-rw-r--r-- opt/burst/share/man/man1/burstctl.1
-rw-r--r-- usr/lib/slurm/job_submit_burst.so
-rw-r--r-- usr/lib/slurm/spank_burst.so
-rw-r--r-- usr/lib/slurm/spank_burst_node.so
EOF
grep -q '^ExecStart=/opt/burst/sbin/burst-node' "$dest/opt/burst/lib/systemd/system/burst-node.service"
grep -q '^\.TH' "$dest/opt/burst/share/man/man1/burstctl.1"
for program in bin/burstctl sbin/burst-node; do "$dest/opt/burst/$program" --version; done
make -s uninstall "${at[@]}"
[ -z "$(there)" ] || { echo "install: left behind:"; there; exit 1; }
echo "install: everything went where it belongs, and away again"
