#!/bin/sh
# Locale lint. The product's text is the same under every locale of the host program (core/text.h), so
# what asks the global locale of C++ or that of C stays out of it: streams of the standard library,
# printf, the conversions of <cstdlib> and <string>, <cctype>, strerror, <regex>.
# Exempt are the tests and the examples, which are programs of their own.
# usage: locale.sh SOURCE_DIR
set -u
cd "$1" || exit 2
status=0

# refuse WHAT INSTEAD PATTERN [FILE...]: the pattern in a product source that is not among the files.
refuse() {
  what=$1 instead=$2 pattern=$3
  shift 3
  found=$(grep -rnE --include='*.h' --include='*.cpp' --include='*.cu' --include='*.cuh' "$pattern" \
    core kernels autograd nn models train analysis figures optim datasets tools |
    sed -E '/^[^:]*:[0-9]*: *\/\//d')
  for file in "$@"; do
    found=$(printf '%s\n' "$found" | grep -v "^$file:")
  done
  [ -z "$found" ] && return
  printf '%s asks the locale; use %s:\n%s\n' "$what" "$instead" "$found"
  status=1
}

refuse 'a string stream' 'str(), TextWriter or TextReader' \
  'std::[io]?stringstream|std::stringbuf' core/text.h
# These read bytes and lines, and are imbued with the classic locale.
refuse 'a file stream' 'read_file() or write_file_atomic()' 'std::[io]?fstream|std::filebuf' \
  datasets/hdf5_read.cpp datasets/detail/hdf5_read.h datasets/hdf5.cpp tools/shell/environment.cpp
refuse 'printf' 'str(), fixed_text(), short_text()' '(^|[^_[:alnum:]])(v?(f|s|sn|as|d)?printf) *\('
refuse 'std::to_string' 'str(), fixed_text()' 'std::to_string' core/text.cpp
refuse 'a conversion' 'parse_double(), parse_int64() or std::from_chars' \
  '(^|[^_[:alnum:]])(sto(i|l|ll|ul|ull|f|d|ld)|strto(l|ll|ul|ull|f|d|ld)|ato(i|l|ll|f)|v?f?s?scanf) *\('
refuse 'a class of characters' 'ascii_lower(), ascii_upper() or a comparison' \
  '(^|[^_[:alnum:]])(to(lower|upper)|is(alnum|alpha|blank|digit|graph|lower|print|punct|space|upper|xdigit)) *\('
refuse 'an error text' 'error_text()' 'strerror *\(|\.message\(\)|perror *\('
refuse 'an ordering or a pattern' 'operator<, std::string_view' 'strcoll|std::regex|std::collate'
refuse 'a time format' 'utc_now()' 'put_time|get_time|strftime' tools/shell/environment.cpp
refuse 'a choice of locale' 'nothing' 'setlocale|locale::global|newlocale|uselocale' core/text.cpp
exit $status
