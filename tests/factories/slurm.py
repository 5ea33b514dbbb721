"""A SLURM cluster on this machine: a controller and two nodes, as isolated as machines.

Each node is a slurmd in kernel namespaces: it has its own host name, network address and process
ids. The nodes share the file system. Everything runs inside one more set of namespaces, and ends
with its first process.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NODES = ["n1", "n2"]
NO_SLURM = (
    "install SLURM (Debian: apt install slurmctld slurmd slurm-client munge iproute2), and be root "
    "where namespaces are allowed"
)
PROGRAMS = ["slurmctld", "slurmd", "sbatch", "munged", "ip", "unshare", "nsenter", "setpriv"]
NEW_MACHINE = ["--net", "--uts", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"]
WAIT_SECONDS = 300.0  # whatever takes longer hangs
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL"}

# Without cgroups and accounting, which a test machine may not have. A requeued job starts when
# the credentials of its steps have expired: after 30 s instead of two minutes.
SLURM_CONF = """\
ClusterName=test
SlurmctldHost=control(10.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=30
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/%n
SlurmdPidFile={folder}/%n.pid
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
MinJobAge=86400
SlurmdTimeout=30
NodeName=n1 NodeAddr=10.0.0.2 CPUs=1
NodeName=n2 NodeAddr=10.0.0.3 CPUs=1
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE
"""
HOSTS = """\
127.0.0.1 localhost
10.0.0.1 control
10.0.0.2 n1
10.0.0.3 n2
"""
# The first process in the namespaces of the cluster.
MACHINE = """\
set -euo pipefail
cd "$1"
hostname control
mount --bind hosts /etc/hosts
mount -t tmpfs tmpfs /run # where `ip` keeps network names
ip link set lo up
ip link add lan type bridge
ip link set lan up
ip address add 10.0.0.1/24 dev lan
munged --force --key-file munge.key --socket "$1/munge.socket" --pid-file munge.pid \\
  --seed-file munge.seed --log-file munge.log
slurmctld -D &
address=2
for node in n1 n2; do
  ip netns add $node
  ip link add $node type veth peer name eth0 netns $node
  ip link set $node master lan up
  ip -n $node link set lo up
  ip -n $node link set eth0 up
  ip -n $node address add 10.0.0.$address/24 dev eth0
  ip -n $node route add default via 10.0.0.1
  address=$((address + 1))
  ip netns exec $node unshare --uts --pid --mount --fork --kill-child --mount-proc \\
    bash -c "hostname $node; mkdir -p /tmp/ray; mount -t tmpfs tmpfs /tmp/ray; slurmd -D & wait" &
  echo $! >$node.machine
done
while true; do wait; sleep 1; done
"""


def slurm_is_missing() -> bool:
    """Whether this machine cannot run such a cluster."""
    if not all(map(shutil.which, PROGRAMS)):
        return True
    return bool(subprocess.run(["unshare", *NEW_MACHINE, "true"], capture_output=True).returncode)


class SlurmCluster:
    """A cluster that runs while the ``with`` block lasts.

    Args:
        folder: An empty folder for its files, with a short path because it holds a socket.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> SlurmCluster:
        (self.folder / "slurm.conf").write_text(SLURM_CONF.format(folder=self.folder))
        # Without this setting slurmd searches for cgroups, and does not start if there are none.
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        (self.folder / "hosts").write_text(HOSTS)
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        for name in ("state", *NODES):
            (self.folder / name).mkdir()
        # If this process ends, `unshare` ends too, and its child with it.
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", *NEW_MACHINE]
        command += ["bash", "-c", MACHINE, "machine", str(self.folder)]
        with (self.folder / "machine.log").open("wb") as log:
            self.machine = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment()
            )
        try:
            self.until(lambda: self.node_states() == ["idle"] * len(NODES), "its nodes are idle")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        inside = self.first_process()
        self.machine.kill()
        self.machine.wait()
        if inside:
            with contextlib.suppress(ProcessLookupError):
                os.kill(inside, signal.SIGKILL)
            while Path(f"/proc/{inside}").exists():
                time.sleep(0.05)

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of this process, with the cluster and this Python."""
        own = {"SLURM_CONF": str(self.folder / "slurm.conf"), "VIRTUAL_ENV": sys.prefix}
        return {**os.environ, **own, **more}

    def first_process(self) -> int | None:
        """The process id here of the first process in the cluster's namespaces."""
        pid = self.machine.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            return None
        return int(children[0]) if children else None

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the controller, in this folder."""
        inside = ["--net", "--uts", "--pid", "--mount", "--target", str(self.first_process())]
        return subprocess.run(
            ["nsenter", *inside, f"--wd={Path.cwd()}", *words],
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
            env=self.environment(**environment),
        )

    def node_states(self) -> list[str]:
        """The state of each node."""
        return self.run("sinfo", "--noheader", "--Node", "--format=%T").stdout.split()

    def lose(self, node: str) -> None:
        """End a node like a power cut."""
        done = self.run("kill", "-KILL", (self.folder / f"{node}.machine").read_text().strip())
        assert done.returncode == 0, done.stderr

    def until(self, true: Callable[[], Any], what: str) -> None:
        """Wait until something is true; else raise AssertionError with the logs of the daemons."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not true():
            gone = self.machine.poll() is not None
            if gone or time.monotonic() > deadline:
                logs = "\n".join(
                    f"{log.name}: {log.read_text()[-2000:]}"
                    for log in sorted(self.folder.glob("*.log"))
                )
                raise AssertionError(f"not yet: {what}\n{logs}")
            time.sleep(0.2)

    def submit(self, *words: str, **environment: str) -> Job:
        """Submit a job with these arguments of ``sbatch``."""
        output = f"--output={self.folder}/%j.out"
        done = self.run("sbatch", "--parsable", output, *words, **environment)
        assert done.returncode == 0, done.stderr
        return Job(self, done.stdout.strip())


class Job:
    """A job of a cluster.

    Args:
        cluster: Its cluster.
        number: Its id in SLURM.
    """

    def __init__(self, cluster: SlurmCluster, number: str) -> None:
        self.cluster, self.number = cluster, number

    def fields(self) -> dict[str, str]:
        """The fields of ``scontrol show job``: JobState, ExitCode, ..."""
        shown = self.cluster.run("scontrol", "show", "job", "--oneliner", self.number).stdout
        return dict(word.split("=", 1) for word in shown.split() if "=" in word)

    @property
    def state(self) -> str:
        """PENDING, RUNNING, COMPLETED, ..."""
        return self.fields().get("JobState", "")

    @property
    def output(self) -> str:
        """Its output so far."""
        path = self.cluster.folder / f"{self.number}.out"
        return path.read_text() if path.exists() else ""

    def wait(self) -> str:
        """Wait for its end, and return its state."""
        try:
            self.cluster.until(lambda: self.state in ENDED, f"job {self.number} has ended")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output}") from None
        return self.state

    def cancel(self, *words: str) -> None:
        """Run ``scancel`` with these arguments."""
        done = self.cluster.run("scancel", *words, self.number)
        assert done.returncode == 0, done.stderr
