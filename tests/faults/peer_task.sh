# ROOT NUMBER SECONDS: a task of a list. It says when its first copy is still at work.
grep -qs 'State:.[^Z]' "/proc/$(cat "$1/pids/$2" 2>/dev/null)/status" && echo "$2" >>"$1/beside"
echo $$ >"$1/pids/$2"
sleep "$3"
touch "$1/done/$2"
