// The configuration that was built, as run.json will say it.
#include <basin/core/version.h>

#include <iostream>

int main() {
  const basin::VersionInfo& v = basin::version_info();
  std::cout << v.build_type << ": " << v.flags << '\n';
}
