#!/bin/sh
# timed.sh LABEL COMMAND...: run the command, say how long it took, pass its exit code on.
# Ctrl-C is for the command: it may have things to finish, so wait for it.
trap : INT
label=$1
shift
start=$(date +%s)
"$@"
code=$?
seconds=$(($(date +%s) - start))
if [ "$code" -eq 0 ]; then
    echo "== $label: $seconds s"
elif [ "$code" -eq 130 ]; then
    echo "== $label: stopped after $seconds s" >&2
else
    echo "== $label: FAILED (exit code $code) after $seconds s" >&2
fi
exit "$code"
