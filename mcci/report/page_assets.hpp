#pragma once

namespace mcci::report {

extern const char* const page_style;   // page.css
extern const char* const page_script;  // page.js

}  // namespace mcci::report
