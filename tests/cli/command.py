"""What the tests of networks from elsewhere share."""
import subprocess
import sys

SKIPPED = 77  # ctest's SKIP_RETURN_CODE


def run(*command):
    """Standard output of a command that must succeed."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout
