"""The examples of GNU parallel's own manual (parallel_tutorial(7) and parallel_examples(7) of 20221122) that use what
we have too: typed as they stand there, they give the same output, files, job log and exit code.

They run in bash, with `parallel` being theirs or ours. Where an example names a program that is not on every machine
(lame, convert, wget), echo or cp stands in for it. What the manual has and we have not is in docs/parallel.md.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    shutil.which("parallel") is None,
    reason="GNU parallel is not installed (apt-get install parallel)",
)

FILES = """
printf 'A\\nB\\nC\\n' > abc-file; printf 'D\\nE\\nF\\n' > def-file; printf 'A\\0B\\0C\\0' > abc0-file
printf 'A_B_C_' > abc_-file; printf 'f1\\tf2\\nA\\tB\\nC\\tD\\n' > tsv-file.tsv; seq 8 > num8
mkdir dir; touch dir/one.html dir/'two  2.html' dir/a.wav "dir/b's.wav" 10:00 10:10; mkdir -p sub/deep
for n in 1 2 3; do echo "page $n" | gzip > "p $n.gz"; done; echo 'FOO BAR' > text1; echo 'x FOO BAR' > text2
printf 'Name\\tE-mail address\\nAnn\\tann@there\\nBob B\\tbob@there\\n' > addressbook.tsv
printf 'foo\\tbar\\nbaz \\t quux\\n' > table_file.tsv; printf 'aardvark\\nbabble\\ncab\\ndab\\neach\\n' > in.txt
"""
"""What the manual tells its readers to have, and files with blanks and quotes in their names."""

TUTORIAL = [
    "parallel echo ::: A B C",
    "parallel -a abc-file echo",
    "cat abc-file | parallel echo",
    "parallel echo ::: A B C ::: D E F",
    "parallel -a abc-file -a def-file echo",
    "cat abc-file | parallel -a - -a def-file echo",
    "cat abc-file | parallel echo :::: - def-file",
    "parallel echo ::: A B C :::: def-file",
    "parallel --link echo ::: A B C ::: D E F",
    "parallel --link echo ::: A B C D E ::: F G",
    "parallel echo :::: abc-file :::+ G H I :::: def-file",
    "parallel echo :::: abc-file ::: G H I ::::+ def-file",
    "parallel echo ::: A B C D E :::+ F G",
    "parallel -d _ echo :::: abc_-file",
    "parallel -d '\\0' echo :::: abc0-file",
    "parallel -0 echo :::: abc0-file",
    "(echo 1; echo; echo 2) | parallel --no-run-if-empty echo",
    "parallel ::: ls 'echo foo' pwd | sed s,$PWD,here,",
    "my_func() { echo in my_func $1; }; export -f my_func; parallel my_func ::: 1 2 3",
    "parallel echo ::: A/B.C",
    "parallel echo {} ::: A/B.C",
    "parallel echo {.} ::: A/B.C",
    "parallel echo {/} ::: A/B.C",
    "parallel echo {//} ::: A/B.C",
    "parallel echo {/.} ::: A/B.C",
    "parallel echo {#} ::: A B C",
    "parallel -I ,, echo ,, ::: A/B.C",
    "parallel echo {1} and {2} ::: A B ::: C D",
    "parallel echo /={1/} //={1//} /.={1/.} .={1.} ::: A/B.C D/E.F",
    "parallel echo 1={1} 2={2} 3={3} -1={-1} -2={-2} -3={-3} ::: A B ::: C D ::: E F",
    "parallel --colsep '\\t' echo 1={1} 2={2} :::: tsv-file.tsv",
    "parallel --header : echo f1={f1} f2={f2} ::: f1 A B ::: f2 C D",
    "parallel --header : --colsep '\\t' echo f1={f1} f2={f2} :::: tsv-file.tsv",
    "parallel -N3 echo ::: A B C D E F G H",
    "parallel -N3 echo 1={1} 2={2} 3={3} ::: A B C D E F G H",
    "parallel perl -e 'print \"@ARGV\\n\"' ::: This wont work",
    "parallel -q perl -e 'print \"@ARGV\\n\"' ::: This works",
    "parallel perl -e \\''print \"@ARGV\\n\"'\\' ::: This works, too",
    "parallel perl\\ -e\\ \\'print\\ \\\"@ARGV\\\\n\\\"\\' ::: This also works",
    "parallel --tag echo foo-{} ::: A B C",
    "parallel --tagstring {}-bar echo foo-{} ::: A B C",
    "parallel --dryrun echo {} ::: A B C",
    'parallel -j2 -k \'printf "%s-start\\n%s" {} {}; sleep 0.{};printf "%s\\n" -middle;echo {}-end\' ::: 4 2 1',
    'parallel -j2 \'printf "%s-start\\n%s" {} {}; sleep 0.{};printf "%s\\n" -middle;echo {}-end\' ::: 4 2 1',
    'parallel -j2 --linebuffer \'printf "%s-start\\n%s" {} {}; sleep 0.{};printf "%s\\n" -middle\' ::: 4 2 1',
    "parallel --results outdir echo ::: A B C",
    "parallel --header : --results outdir echo ::: f1 A B ::: f2 C D",
    "parallel -j64 sleep 0.1 '#' :::: num8",
    "parallel --jobs 200% sleep 0.1 '#' :::: num8",
    "parallel --jobs 0 sleep 0.1 '#' :::: num8",
    "parallel --delay 0.2 echo Starting {}\\;date +%Y ::: 1 2 3",
    "parallel --timeout 1.1 sleep {}\\; echo {} ::: 0.2 0.4 6 8",
    "parallel --bar sleep ::: 0.1 0.3 0.2",
    "parallel --eta sleep ::: 0.1 0.3 0.2",
    "parallel --progress sleep ::: 0.1 0.3 0.2",
    "parallel -j1 --joblog log exit ::: 1 2 3 0; parallel --resume --joblog log exit ::: 1 2 3 0 0 0; "
    "parallel -j1 --resume-failed --joblog log exit ::: 1 2 3 0 0 0",
    "parallel -j1 --halt soon,fail=1 echo {}\\; exit {} ::: 0 0 1 2 3",
    "parallel -j1 --halt now,fail=1 echo {}\\; exit {} ::: 0 0 1 2 3",
    "parallel -j1 --halt soon,fail=20% echo {}\\; exit {} ::: 0 1 2 3 4 5 6 7 8 9",
    "parallel -j1 --halt now,success=1 echo {}\\; exit {} ::: 1 2 3 0 4 5 6",
    "parallel -k --retries 3 'echo tried {} >>runs; echo completed {}; exit {}' ::: 1 2 0; sort runs",
]
EXAMPLES = [
    "find . -name '*.html' | parallel gzip --best",
    "find . -name 'text*' -type f -print0 | parallel -q0 perl -i -pe 's/FOO BAR/FUBAR/g'",
    "parallel gzip --best ::: dir/*.html",
    "parallel cp {} {.}.mp3 ::: dir/*.wav",
    "ls | grep '^p' | parallel mv {} sub/deep",
    "find . -name '*.html' | parallel cp {} {}_thumb.jpg",
    "find . -name '*.html' | parallel cp {} {.}_thumb.jpg",
    "parallel zcat {} '>'{.} ::: *.gz",
    "parallel 'zcat {} >{.}' ::: *.gz",
    "ls | parallel 'echo -n {}\" \"; ls {}|wc -l'",
    "ls | parallel '(echo -n {}\" \"; ls {}|wc -l) >{}.dir'",
    'find . | parallel \'a={}; name=${a##*/};\' \'upper=$(echo "$name" | tr "[:lower:]" "[:upper:]");\''
    "'echo \"$name - $upper\"'",
    'ls | parallel \'mv {} "$(echo {} | tr "[:lower:]" "[:upper:]")"\'',
    "ls | parallel 'if [ ! -e {}x ] ; then echo {}; fi'",
    'parallel [ -f {1}:{2} ] "||" echo {1}:{2} does not exist ::: {09..11} ::: {00..55..5}',
    "doubleit() { echo Doing it for $1 $2; sleep 0.1; echo Done with $1 $2; }; export -f doubleit; "
    "parallel doubleit ::: 1 2 3 ::: a b",
    'tester() { if (eval "$@") >&/dev/null; then echo "OK $@"; else echo "FAIL $@"; fi; }; export -f tester; '
    "parallel tester exit ::: 1 0 2 0",
    "parallel 'mkdir {.}; cd {.}; zcat ../{} > out' ::: *.gz",
    'parallel "zcat {} | bzip2 >{.}.bz2 && rm {}" ::: *.gz; bzcat *.bz2; rm *.bz2',
    "find dir -type f -name '*.wav' | parallel cp {} -T sub/{/.}.mp3",
    "getit() { echo wget to/$1_$2.jpg; }; export -f getit; parallel getit ::: $(seq 3) ::: $(seq -w 9)",
    'url="you&tu?v=0"; export url; seq 3 | parallel --tagstring {#} --lb -j10 echo --playlist-start {#} '
    "--playlist-end {#} '\"https://$url\"'",
    "parallel --header : echo x{X}y{Y}z{Z} \\> x{X}y{Y}z{Z} ::: X {1..2} ::: Y {01..03} ::: Z {1..2}",
    "cat abc-file | parallel -P 100 echo | grep B",
    "parallel echo {1} {2} :::: abc-file def-file",
    "parallel echo {1} {2} ::: red green blue ::: S M L XL XXL | sort",
    "parallel --tag 'diff {1} {2} | wc -l' ::: text* ::: text* | sort -nk3",
    "parallel --header : echo {colour} {size} ::: colour red green blue ::: size S M L XL XXL",
    "cat addressbook.tsv | parallel --colsep '\\t' --header : 'echo {Name} {E-mail address}'",
    "parallel echo {1} - {2} ::::+ <(head -n -1 in.txt) <(tail -n +2 in.txt)",
    'a=(q "r s" t); parallel echo {1} - {2} ::: "${a[@]::${#a[@]}-1}" :::+ "${a[@]:1}"',
    "parallel --results diffcount \"diff -U 0 {1} {2} | tail -n +3 |grep -v '^@'|wc -l\" ::: text* ::: text*",
    "seq -w 0 99 | parallel touch pict{}.jpg; seq -w 0 9 | parallel rm pict{}1.jpg",
    'ARR=("My brother\'s 12\\" records are worth <\\$\\$\\$>"\'!\' Foo Bar); parallel echo ::: "${ARR[@]}"',
    'VAR="My brother\'s 12\\" records are worth <\\$\\$\\$>"; parallel -q echo "$VAR" ::: \'!\'',
    "VAR=\"My brother's 12\\\" records are worth <\\$\\$\\$>\"; export VAR; parallel echo '\"$VAR\"' ::: '!'",
    'VAR="My 12\\" records are worth <\\$\\$\\$>"; parallel echo "\'$VAR\'" ::: \'!\'',
    'VAR="brother\'s <\\$>"; export VAR; myfunc() { echo "$VAR" "$1"; }; export -f myfunc; parallel myfunc ::: \'!\'',
    "cat in.txt | parallel -k echo {} append_string",
    "seq 0 9 | parallel -k echo {}0000000-{}9999999",
    "ls p*.gz text* | parallel -N2 cp {1} {2}.copy",
    "parallel -k echo ::: 0 1 ::: 0 1 ::: 0 1 ::: 0 1 ::: 0 1 ::: 0 1",
    "parallel --link -a <(seq 6) -a <(seq 6 -1 1) echo",
    "parallel --link echo :::: <(seq 6) <(seq 6 -1 1)",
    "find . -type f | sort | parallel -j1 cp {} copy{#}.png",
    "parallel -a table_file.tsv --colsep '\\t' echo -o {2} -i {1}",
    "printf 'echo one\\necho two | tr t T\\n' > jobs_to_run; parallel -j 100 < jobs_to_run",
]

THEIRS = 'parallel() { command parallel --will-cite "$@"; }\n'
OURS = """
parallel() {
    case $1 in -q*) ;; *) set -- --shell "$@" ;; esac  # two words and more meet no shell here, unless it is asked for
    %s run --cpu off --quiet --exit parallel "$@"
}
"""


def run(
    home: Path, line: str, parallel: str, environment: dict[str, str]
) -> tuple[list[bytes], int, list[tuple[str, object]]]:
    """Lines of stdout without their order, where the example asks for none; exit code; all files there are then."""
    home.mkdir()
    script = f"{FILES}\n{parallel}\nset -o pipefail\n{line}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=home, stdin=subprocess.DEVNULL, capture_output=True, env=environment, check=False
    )
    lines = done.stdout.splitlines()
    files = [(str(path.relative_to(home)), contents(path)) for path in sorted(home.rglob("*"))]
    return lines if " -k" in line else sorted(lines), done.returncode, files


def contents(path: Path) -> object:
    """Without what depends on the moment or on who came first."""
    if path.is_dir():
        return None
    data = path.read_bytes()
    if path.suffix in {".gz", ".bz2"}:
        return b""
    if path.name == "log":  # without its times; two that ran at once may end in either order
        return sorted([*row[:2], *row[4:]] for row in (line.split(b"\t") for line in data.splitlines()))
    return sorted(data.splitlines())


@pytest.mark.parametrize("line", [*TUTORIAL, *EXAMPLES])
def test_an_example_does_the_same(lasting_program, tmp_path, line):
    program = lasting_program
    shown = " ".join(map(str, program.command()))
    theirs = run(tmp_path / "theirs", line, THEIRS, program.environment)
    ours = run(tmp_path / "ours", line, OURS % shown, program.environment)
    assert ours == theirs
