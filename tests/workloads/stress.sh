# Every method of stress-ng's processor stressor, each of which checks its own arithmetic.
methods=$(stress-ng --cpu-method which 2>&1 | sed 's/.*must be one of: *//' | tr ' ' '\n' | grep -vx all)
echo "$(echo "$methods" | wc -l) methods"
for method in $methods; do
    started=$(date +%s)
    timeout 300 stress-ng --cpu 1 --cpu-method "$method" --cpu-ops "${STRESS_OPS:-3}" --verify --seed 1 --timeout 240 > log 2>&1
    echo "$method: status $?, $(grep -c 'successful run completed' log) successful"
    grep -E 'fail|error' log | sed 's/\[[0-9]*\]//g'
    seconds=$(( $(date +%s) - started ))
    [ $seconds -lt 10 ] || echo "# $method took $seconds s"
done
