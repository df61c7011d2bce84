"""A process with a helper that burns some CPU; run by a test."""

import subprocess
import sys
import time

BURN = "import time\nwhile time.process_time() < 0.3: pass\nprint('burnt', flush=True)\ntime.sleep(60)"

if __name__ == "__main__":
    helper = subprocess.Popen([sys.executable, "-c", BURN], stdout=subprocess.PIPE, text=True)
    assert helper.stdout is not None
    sys.stdout.write(f"{helper.pid}\n")
    sys.stdout.write(helper.stdout.readline())
    sys.stdout.flush()
    time.sleep(60)
