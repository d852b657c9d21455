# One task: LEDGER NUMBER SHAPE SECONDS. It does not end while LEDGER.hang is there. Lines of the ledger are appended whole, in the order in which things happened.
printf 'begin %s\n' "$2" >>"$1"
case $3 in
stubborn) trap '' TERM ;;
forks) (sleep "$4") & setsid sleep "$4" & ;;
daemon) (setsid setsid sleep 30 >/dev/null 2>&1 &) ;;
esac
sleep "$4"
while [ -e "$1.hang" ]; do sleep 0.05; done
printf 'end %s\n' "$2" >>"$1"
