#!/bin/sh
# Runs a compiler and keeps what ptxas says of each kernel (registers, spills, shared memory) beside
# the object, for tools/gpu_static.sh.
# usage: keep_ptxas.sh OBJECT COMMAND...
object=$1
shift
"$@" 2>"$object.ptxas"
code=$?
grep -v -e '^ptxas info' -e 'bytes stack frame' "$object.ptxas" >&2
[ "$code" = 0 ] || rm -f "$object.ptxas"
exit "$code"
