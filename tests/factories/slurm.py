"""A SLURM cluster on this machine: a controller and two nodes, as separate as machines are.

Each node is namespaces of the kernel with a slurmd in them: it has its host name, its address on a
network of the cluster's own, and process ids that mean nothing outside. What they share is the file
system. All is inside one more such machine; with that one's first process everything ends.
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
PATIENCE_SECONDS = 300.0  # nothing takes as long; what does, hangs
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL"}

# No cgroups and no accounting: what a test's machine may not have.
SLURM_CONF = """\
ClusterName=test
SlurmctldHost=control(10.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
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
# The first process of the machine that holds the cluster.
MACHINE = """\
set -euo pipefail
cd "$1"
hostname control
mount --bind hosts /etc/hosts
mount -t tmpfs tmpfs /run # where `ip` keeps the names of networks
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


def missing() -> bool:
    """Whether this machine cannot hold a cluster."""
    if not all(map(shutil.which, PROGRAMS)):
        return True
    return bool(subprocess.run(["unshare", *NEW_MACHINE, "true"], capture_output=True).returncode)


class SlurmCluster:
    """A cluster that runs inside a ``with``.

    Args:
        folder: An empty folder for its files; a short path, because a socket is in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> SlurmCluster:
        (self.folder / "slurm.conf").write_text(SLURM_CONF.format(folder=self.folder))
        # Named, because slurmd looks for one otherwise, and does not start without; it uses none.
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        (self.folder / "hosts").write_text(HOSTS)
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        for name in ("state", *NODES):
            (self.folder / name).mkdir()
        # Whatever ends this process ends the machine: `unshare` with it, and its child with that.
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
        """This process's, with the cluster and the Python that runs the tests."""
        own = {"SLURM_CONF": str(self.folder / "slurm.conf"), "VIRTUAL_ENV": sys.prefix}
        return {**os.environ, **own, **more}

    def first_process(self) -> int | None:
        """The id here of what is process 1 there."""
        pid = self.machine.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            return None
        return int(children[0]) if children else None

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A command on the controller's machine, in this folder."""
        inside = ["--net", "--uts", "--pid", "--mount", "--target", str(self.first_process())]
        return subprocess.run(
            ["nsenter", *inside, f"--wd={Path.cwd()}", *words],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            env=self.environment(**environment),
        )

    def node_states(self) -> list[str]:
        """What SLURM says of each node."""
        return self.run("sinfo", "--noheader", "--Node", "--format=%T").stdout.split()

    def lose(self, node: str) -> None:
        """End a node as a power cut does."""
        done = self.run("kill", "-KILL", (self.folder / f"{node}.machine").read_text().strip())
        assert done.returncode == 0, done.stderr

    def until(self, true: Callable[[], Any], what: str) -> None:
        """Wait for something; AssertionError, with what the daemons say, where it does not come."""
        deadline = time.monotonic() + PATIENCE_SECONDS
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
        """``sbatch`` with these words."""
        output = f"--output={self.folder}/%j.out"
        done = self.run("sbatch", "--parsable", output, *words, **environment)
        assert done.returncode == 0, done.stderr
        return Job(self, done.stdout.strip())


class Job:
    """A job of a cluster.

    Args:
        cluster: Its cluster.
        number: What SLURM calls it.
    """

    def __init__(self, cluster: SlurmCluster, number: str) -> None:
        self.cluster, self.number = cluster, number

    def facts(self) -> dict[str, str]:
        """What ``scontrol show job`` tells: JobState, ExitCode, ..."""
        told = self.cluster.run("scontrol", "show", "job", "--oneliner", self.number).stdout
        return dict(word.split("=", 1) for word in told.split() if "=" in word)

    @property
    def state(self) -> str:
        """PENDING, RUNNING, COMPLETED, ..."""
        return self.facts().get("JobState", "")

    @property
    def output(self) -> str:
        """What it has printed."""
        path = self.cluster.folder / f"{self.number}.out"
        return path.read_text() if path.exists() else ""

    def wait(self) -> str:
        """Wait for its end; its state."""
        try:
            self.cluster.until(lambda: self.state in ENDED, f"job {self.number} has ended")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output}") from None
        return self.state

    def cancel(self, *words: str) -> None:
        """``scancel`` with these words."""
        done = self.cluster.run("scancel", *words, self.number)
        assert done.returncode == 0, done.stderr
