#!/usr/bin/env bash
# Everything that a machine with an NVIDIA GPU must show, in less than nine minutes: builds the package, compares it with
# the frameworks, runs the tests that need a GPU, and compute-sanitizer on small cases. Results go to $OUT (default:
# gpu_check/) after every step: gpu_check.md (the table), gpu_check.json, compare.json, and logs.tar with a log of each.
#
#   bench/gpu_check.sh          on the GPU
#   bench/gpu_check.sh --try    without one: the tests on a made-up GPU, the comparison at tiny sizes on the CPU
#
# PYTHON   the interpreter, 3.11 or later, with numpy, pybind11, scikit-build-core, pytest, pytest-timeout, rich, typer,
#          pandas, matplotlib, torch, jax and cupy; default python3. nvcc and cmake must be there, too.
# PYNEEDLE_INSTALLED=1   check the pyneedle that this interpreter has, with its CUDA module, instead of building one.
# WHEELS   a folder of wheels of what it lacks (scipy-openblas32, tomli-w); default .whl. Nothing is downloaded.
# SECONDS_IN_ALL   default 520.
# STEPS   which to make after build, doctor and libraries; default "smoke compare tests memcheck racecheck".
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null
top=$PWD
python=${PYTHON:-python3}
wheels=${WHEELS:-.whl}
limit=${SECONDS_IN_ALL:-520}
wanted=${STEPS-smoke compare tests memcheck racecheck}
for name in $wanted; do
  [[ " smoke compare tests memcheck racecheck " == *" $name "* ]] || { echo "STEPS names no such step: $name" >&2; exit 2; }
done
try=${1:-}
[[ -z $try || $try == --try ]] || { echo "usage: bench/gpu_check.sh [--try]" >&2; exit 2; }
mkdir -p "${OUT:-gpu_check}"
out=$(cd "${OUT:-gpu_check}" && pwd)
work=$(mktemp -d)
trap 'keep_logs; rm -rf "$work"' EXIT
site=$work/site
mkdir "$site" "$work/logs"
# What the shell of this machine may not have been told.
for tool in nvcc compute-sanitizer; do
  command -v "$tool" >/dev/null || export PATH=$PATH:/usr/local/cuda/bin
done
# The checkout's own pyneedle/ has no compiled modules: it must not be found.
export PYTHONPATH=$site${PYTHONPATH:+:$PYTHONPATH} PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 PIP_DISABLE_PIP_VERSION_CHECK=1
export XLA_PYTHON_CLIENT_PREALLOCATE=false
export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}
: >"$work/steps"
failed=0

left() { echo $((limit - SECONDS)); }

keep_logs() { tar -cf "$out/logs.tar" -C "$work/logs" .; }

# step NAME SECONDS: runs the function of that name for at most so many seconds, and no more than are left; its output
# goes to a log.
step() {
  local name=$1 most=$2 start=$SECONDS code=0 verdict=passed
  ((most > $(left))) && most=$(left)
  echo "== $name (at most $most s)"
  if ((most < 5)); then
    code=124
  else
    (set -euo pipefail; most=$most; "$name") >"$work/logs/$name.log" 2>&1
    code=$?
    tail -n 12 "$work/logs/$name.log"
  fi
  case $code in
    0) ;;
    77) verdict=skipped ;;
    124) verdict="OUT OF TIME"; failed=1 ;;
    *) verdict="FAILED ($code)"; failed=1 ;;
  esac
  printf '%s\t%s\t%d\n' "$name" "$verdict" $((SECONDS - start)) >>"$work/steps"
  echo "== $name: $verdict after $((SECONDS - start)) s"
  report
  keep_logs
  return "$code"
}

build() {
  ln -s "$top/bench" "$site/bench"
  if [[ -n ${PYNEEDLE_INSTALLED:-} ]]; then
    "$python" -c '
import importlib.util, sys
import pyneedle
print("installed:", pyneedle.__version__, pyneedle.__file__)
missing = importlib.util.find_spec("pyneedle._cuda") is None and not sys.argv[1]
sys.exit("the pyneedle that is installed has no CUDA module" if missing else 0)' "$try"
    return
  fi
  if compgen -G "$wheels/*.whl" >/dev/null; then
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$site" "$wheels"/*.whl
  fi
  "$python" -c '
import importlib.util, sys
needed = ("numpy", "pybind11", "scikit_build_core", "scipy_openblas32", "pytest", "pytest_timeout", "rich", "typer",
          "tomli_w", "pandas", "matplotlib")
missing = [name for name in needed if importlib.util.find_spec(name) is None]
sys.exit(f"missing: {missing}; put their wheels into the folder that WHEELS names" if missing else 0)'
  local cuda=on
  [[ -z $try ]] || cuda=auto
  PYNEEDLE_CUDA=$cuda timeout "$most" "$python" -m pip install --quiet --no-build-isolation --no-deps --no-index \
    --no-compile --target "$site" "$top"
}

doctor() {
  timeout "$most" "$python" -m pyneedle doctor
  [[ -n $try ]] || "$python" -c '
import sys
from pyneedle import _device
sys.exit(_device.unavailable() or 0)'
}

# Without one of them nothing that takes arrays on the GPU is tried, and no peer is compared with.
libraries() {
  [[ -z $try ]] || { echo "needs a GPU"; return 77; }
  timeout "$most" "$python" -c '
import importlib, sys
def gpus(name):
    try:
        module = importlib.import_module(name)
        return module.cuda.device_count() if name == "torch" else module.cuda.runtime.getDeviceCount()
    except Exception as error:
        print(f"{name}: {type(error).__name__}: {error}")
        return 0
found = [name for name in ("cupy", "torch") if gpus(name)]
print("arrays on the GPU with:", ", ".join(found) or "nothing")
sys.exit(0 if found else "neither CuPy nor PyTorch is there with a GPU: arrays and peers cannot be tried")'
}

# The frameworks' releases warn as they please, so that warnings are shown here and are no errors.
pytest_for() {  # pytest_for SECONDS ARGUMENTS
  local most=$1
  shift
  [[ -z $try ]] || export PYNEEDLE_TEST_GPU=made-up
  PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 timeout "$most" "$python" -m pytest -q -W default -p pytest_timeout \
    -p no:cacheprovider --durations=10 "$@"
}

# A training of each kernel beside the CPU's, and bitwise again: whether the comparison is of anything.
smoke() { pytest_for "$most" -x tests/cuda/test_training.py -k "test_penalties or (test_run_to_run and float32)"; }

tests() {
  local selected=(tests/cuda/test_teams.py tests/cuda/test_training.py) file  # what says most comes first
  if [[ -n $try ]]; then
    selected+=(tests/device/test_arrays.py)
  else
    for file in tests/cuda/test_*.py tests/device/test_*.py; do
      [[ " ${selected[*]} " == *" $file "* ]] || selected+=("$file")
    done
  fi
  pytest_for "$most" "${selected[@]}"
}

sanitizer() {  # sanitizer TOOL OPTIONS
  [[ -z $try ]] || { echo "needs a GPU"; return 77; }
  command -v compute-sanitizer >/dev/null || { echo "compute-sanitizer is not on PATH"; return 1; }
  cd "$work"
  timeout "$most" compute-sanitizer --tool "$@" --error-exitcode 9 --kernel-name kns=pn --print-limit 20 \
    "$python" -m bench.gpu.small_cases
}
# Errors of the API are left out: libraries provoke some to find out what there is, and handle them.
memcheck() { sanitizer memcheck --report-api-errors no; }
racecheck() { sanitizer racecheck; }

compare() {
  cd "$work"
  local options=(--seconds $((most > 60 ? most - 45 : 15)) --tf32)
  [[ -z $try ]] || options=(--device cpu --quick --rounds 1 --budget 0.01)
  timeout "$most" "$python" -m bench.gpu.compare "${options[@]}" --json "$out/compare.json" \
    --markdown "$work/compare.md"
}

report() {
  {
    printf '| step | result | seconds |\n|---|---|---|\n'
    awk -F'\t' '{printf "| %s | %s | %s |\n", $1, $2, $3}' "$work/steps"
    echo
    [[ ! -f $work/compare.md ]] || cat "$work/compare.md"
  } >"$out/gpu_check.md"
  "$python" - "$work/steps" "$out/compare.json" >"$out/gpu_check.json" <<'END'
import json, pathlib, sys
steps = [line.split("\t") for line in pathlib.Path(sys.argv[1]).read_text().splitlines()]
compared = pathlib.Path(sys.argv[2])
print(json.dumps({
    "steps": [{"step": name, "result": result, "seconds": int(seconds)} for name, result, seconds in steps],
    "comparison": json.loads(compared.read_text()) if compared.is_file() else None,
}, indent=1))
END
}

rm -f "$out/compare.json"
# Not in the condition of an `if`: bash would go on after a failing command of the step.
step build 240
code=$?
if ((code == 0)); then
  step doctor 60
  code=$?
fi
if ((code == 0)); then
  step libraries 60
  for name in $wanted; do
    case $name in
      smoke) step smoke 40 ;;
      compare)  # which most of the goals are of: at least 240 seconds, where the steps before it leave so many
        share=$(left)
        [[ $wanted != *tests* ]] || share=$((share - 150))
        step compare $((share > 240 ? share : 240))
        ;;
      tests) step tests 200 ;;
      *) step "$name" 70 ;;
    esac
  done
fi
echo
cat "$out/gpu_check.md"
exit "$failed"
