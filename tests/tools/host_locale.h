// Locales of a host program that writes 1.234,5: of C++, which takes no locale of the system, and
// of C, which localedef makes.
#pragma once
#include <cstdlib>
#include <fstream>
#include <locale>
#include <string>

namespace basin::test {

inline std::locale grouping_locale() {
  struct Grouping : std::numpunct<char> {
    char do_decimal_point() const override { return ','; }
    char do_thousands_sep() const override { return '.'; }
    std::string do_grouping() const override { return "\3"; }
    std::string do_truename() const override { return "ja"; }
    std::string do_falsename() const override { return "nein"; }
  };
  return {std::locale::classic(), new Grouping};
}

// Writes FOLDER/host, to be found by setlocale(LC_ALL, "host") with LOCPATH=FOLDER: Turkish, in
// which an i in upper case is no I, else one with a decimal comma and nothing more. "": there is no
// localedef.
inline std::string make_host_locale(const std::string& folder) {
  std::ofstream(folder + "/source") << "comment_char %\nescape_char /\nLC_NUMERIC\n"
                                       "decimal_point \",\"\nthousands_sep \".\"\ngrouping 3;3\n"
                                       "END LC_NUMERIC\n";
  const std::string make = "cd '" + folder +
                           "' && { localedef -i tr_TR -f ISO-8859-9 ./host || "
                           "localedef -c -i ./source -f ANSI_X3.4-1968 ./host; } >/dev/null 2>&1; "
                           "test -e host/LC_NUMERIC";
  return std::system(make.c_str()) == 0 ? "host" : "";
}

}  // namespace basin::test
