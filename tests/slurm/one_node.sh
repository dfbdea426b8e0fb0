#!/usr/bin/env bash
# A Slurm of one node, started here from the distribution's packages (munge, slurmctld, slurmd), on which
# `study submit --slurm` runs a study by a job array; its tables must be the bytes of those that
# `study run` writes on this machine.
# usage: one_node.sh BIN_DIR      exit code 77: the packages or the rights are not here, and what is missing
set -u
bin=$(cd "$1" && pwd) || exit 2
for program in munged slurmctld slurmd sbatch sinfo scancel; do
  command -v "$program" >/dev/null || { echo "SKIPPED: $program is not installed" && exit 77; }
done
[ "$(id -u)" = 0 ] || { echo "SKIPPED: slurmd wants to be started by root" && exit 77; }
pgrep -x slurmctld >/dev/null && { echo "SKIPPED: a Slurm runs here already" && exit 77; }

work=$(mktemp -d /tmp/basin-slurm-XXXXXX) || exit 1
host=$(hostname -s)
pids=()
finish() {
  [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null
  wait 2>/dev/null
  rm -rf "$work"
}
trap finish EXIT
fault() {
  echo "one_node: $1"
  tail -n 20 "$work"/*.log 2>/dev/null
  exit 1
}

# munge insists on folders that nobody else may write; the test has its own, all owned by root.
mkdir -m 755 "$work/munge" "$work/state" "$work/spool" && chmod 755 "$work"
dd if=/dev/urandom of="$work/munge/key" bs=1024 count=1 status=none && chmod 400 "$work/munge/key"
munged --foreground --force --socket="$work/munge/socket" --key-file="$work/munge/key" \
  --pid-file="$work/munge/pid" --seed-file="$work/munge/seed" --log-file="$work/munge/log" \
  >"$work/munged.log" 2>&1 &
pids+=($!)
cores=$(nproc)
cat >"$work/slurm.conf" <<EOF
ClusterName=basin
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket
SlurmctldPort=17017
SlurmdPort=17018
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cores State=UNKNOWN
PartitionName=test Nodes=$host Default=YES MaxTime=INFINITE State=UP
EOF
export SLURM_CONF=$work/slurm.conf
slurmctld -D -i >"$work/slurmctld.out.log" 2>&1 &
pids+=($!)
slurmd -D >"$work/slurmd.out.log" 2>&1 &
pids+=($!)
for _ in $(seq 100); do
  sinfo -h -o %t 2>/dev/null | grep -q idle && break
  sleep 0.3
done
sinfo -h -o %t 2>/dev/null | grep -q idle || fault "the node did not come up"

cat >"$work/small.toml" <<EOF
title = "small"
program = "train_modelnet"
[settings]
data = "embedded"
points = 32
limit = 90
val_fraction = 0.2
epochs = 2
"model.name" = "pointnet"
"model.widths" = "8,16,32,16,8"
"model.input_transform" = false
"model.feature_transform" = false
[models.pointnet]
keep = 1
[optimizers.adamw]
"optimizer.name" = "adamw"
[optimizers.muon]
"optimizer.name" = "muon"
[grid.adamw]
lr = [1e-3, 1e-2]
[grid.muon]
lr = [1e-2, 5e-2]
[final]
seeds = [0, 1, 2]
[metrics.accuracy]
value = "best_val_overall_accuracy"
EOF
cd "$work" || exit 1
"$bin/study" run small.toml --out here >here.out 2>here.log || fault "study run failed"
"$bin/study" submit small.toml --slurm --tasks 2 --partition test --time 0:10:00 --out there >submit.out 2>submit.log ||
  fault "study submit failed"
cat submit.out
for _ in $(seq 600); do
  [ -f there/report.html ] && break
  sleep 0.3
done
cat there/slurm/*.log
[ -f there/report.html ] || fault "the array did not end"
for table in results contrasts search runs; do
  cmp "here/tables/$table.csv" "there/tables/$table.csv" || fault "another table by Slurm: $table"
done
echo "one_node: 10 jobs by an array of 2 tasks, the tables of study run"
