"""Speaking in the grader's name."""

from tests.judge.attacks import WRONG, Attack

VERDICT = '["verdict", "0", "check-answer", "2.0", ""]'
EVERYWHERE = """
import os, stat
for fd in range(3, 64):
    try:
        if stat.S_ISFIFO(os.fstat(fd).st_mode): os.write(fd, {data})
    except OSError: pass
"""
ATTACKS = {
    "prints what a passed check prints": Attack(
        WRONG + "print('passed: the results as expected')\nprint(2)\n2\n", "wrong"
    ),
    "displays the points": Attack(WRONG + "display(2)\n2\n", "wrong"),
    "writes verdicts to every pipe": Attack(WRONG + EVERYWHERE.format(data=repr(f"\n{VERDICT}\n".encode())), "wrong"),
    "guesses the secret": Attack(
        WRONG + EVERYWHERE.format(data=f"b''.join(b'%032x %s\\n' % (n, {VERDICT.encode()!r}) for n in range(200))"),
        "wrong results",
    ),
    "asks the audit hook to speak": Attack(
        WRONG + "import sys\nsys.audit('autograder.judge.say', 'verdict', '0', 'check-answer', '2.0', '')\n",
        "spoke in the grader's name",
    ),
    "asks the audit hook for the check": Attack(
        WRONG + "import sys\nbox = []\nsys.audit('autograder.judge.ask', box, '0', 'check-answer')\n",
        "spoke in the grader's name",
    ),
    "makes a voice of its own": Attack(
        WRONG + "from autograder.judge.worker import _Voice\n_Voice().stage('check', 'check-answer')\n",
        "spoke in the grader's name",
    ),
    "tells the audit hook to look away": Attack(
        "import sys\nsys.audit('autograder.judge.arm', None)\nsys.audit('autograder.judge.arm', frozenset(['<your answer to answer>']))\n"
        "def answer(x):\n    return sys._getframe(1).f_locals['expected']\n",
        "(sys._getframe)",
    ),
    "closes the pipes": Attack(WRONG + "import os\nos.closerange(3, 64)\n", "closed or replaced the pipes"),
    "puts a file over the pipes": Attack(
        WRONG + "import os\nnull = os.open('/dev/null', os.O_RDWR)\nfor fd in range(3, 64):\n    os.dup2(null, fd)\n",
        "closed or replaced the pipes",
    ),
    "puts pipes of its own in their place": Attack(
        WRONG + "import os\nmine = os.pipe()\nfor fd in range(3, 32):\n    if fd not in mine: os.dup2(mine[0], fd)\n",
        "closed or replaced the pipes",
    ),
    "opens the pipe anew below /proc": Attack(
        WRONG + "import os, stat\nfor fd in range(3, 64):\n"
        "    if os.path.exists(f'/proc/self/fd/{fd}') and stat.S_ISFIFO(os.fstat(fd).st_mode): open(f'/proc/self/fd/{fd}', 'wb')\n",
        "opened the grader's own pipe",
    ),
}
