# A client of GNU screen: `screen-client.sh DIRECTORY new|list|end …`. A session's id is PID.NAME, that of its process and its name.
export SCREENDIR="$1"
unset STY
verb="$2"
shift 2

# A line of a session whose process this is: id, first process in its window, and itself.
line() {
  program="$(cat "/proc/$1/task/$1/children" 2>/dev/null)"
  program="${program%% *}"
  [ -n "$program" ] && echo "$2 $program $1"
}

case "$verb" in
new) # DIRECTORY VARIABLE NAME PROGRAM ARGUMENT…
  cd "$1" || exit 1
  variable="$2" name="$3"
  shift 3
  # In the foreground: so its process is known from the start. It carries the mark as its session does.
  env "$variable" setsid screen -D -m -S "$name" "$@" </dev/null >/dev/null 2>&1 &
  pid=$!
  for _ in $(seq 1 200); do
    [ -S "$SCREENDIR/$pid.$name" ] && line "$pid" "$pid.$name" && exit 0
    [ -d "/proc/$pid" ] || exit 1
    sleep 0.02
  done
  exit 1
  ;;
list)
  for socket in "$SCREENDIR"/[0-9]*.*; do
    [ -S "$socket" ] || continue
    id="${socket##*/}"
    line "${id%%.*}" "$id"
  done
  exit 0
  ;;
end) # ID PROCESS
  # screen takes the beginning of a name for the whole; this one must be there.
  [ -S "$SCREENDIR/$1" ] || exit 0
  [ "${1%%.*}" = "$2" ] || { echo "another process leads $1 by now" >&2; exit 1; }
  screen -S "$1" -X quit >/dev/null
  ;;
esac
