# Python's own tests of what leans on the processor. For each: the exit status, how many tests ran, how many were skipped
# and every single one that did not simply pass.
modules="
test_int test_long test_float test_complex test_math test_cmath test_decimal test_fractions test_statistics test_random
test_numeric_tower test_strtod test_struct test_array test_memoryview test_audioop test_binascii test_zlib test_bz2
test_lzma test_ctypes test_hashlib test_hmac test_unicodedata test_threading test_thread test_threading_local
test_threadsignals test_queue test_signal test_fork1 test_mmap test_sort test_itertools test_json test_re
"
for module in $modules; do
    started=$(date +%s)
    timeout 900 python3 -m test -v --timeout 600 "$module" > log 2>&1
    status=$?
    echo "$module: status $status, $(sed -n 's/^\(Ran [0-9]* tests*\) in .*/\1/p' log | tr '\n' ' ')"
    grep -E '^(OK|FAILED) ?\(' log
    grep -aoE '^(ERROR|FAIL): .*' log | sort -u
    [ $status -eq 0 ] || tail -40 log | sed 's/^/# /'
    echo "# $module took $(( $(date +%s) - started )) s"
done
