# ROOT: a worker that takes tasks from a directory, by renaming them, until none is left; then it waits for more.
while :; do
    for task in "$1"/todo/*; do
        name=${task##*/}
        mv "$task" "$1/taken/$name" 2>/dev/null || continue
        sleep "${name#* }"
        mv "$1/taken/$name" "$1/done/$name"
    done
    sleep 0.2
done
