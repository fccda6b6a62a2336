# A room is one folder of mcci/ and one static library mcci_<room>, aliased mcci::<room>.
#
#   mcci_room(<room> SOURCES a.cpp b.cpp [ROOMS core data] [PUBLIC targets] [PRIVATE targets])
#   mcci_test(<room> SOURCES a_test.cpp [ROOMS more] [LABELS slow])
#
# ROOMS are the rooms it may include: the threat model is in this graph (data, train, method and
# baselines never see attacks).

set(MCCI_WARNINGS -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Woverloaded-virtual
                  -Wnull-dereference -Wimplicit-fallthrough)
if(MCCI_WARNINGS_AS_ERRORS)
  list(APPEND MCCI_WARNINGS -Werror)
endif()

# LibTorch's own headers are included as system headers: their warnings are not ours.
add_library(mcci_torch INTERFACE)
target_link_libraries(mcci_torch INTERFACE ${TORCH_LIBRARIES})
set_property(GLOBAL PROPERTY MCCI_ROOMS "")

function(mcci_room room)
  cmake_parse_arguments(ARG "" "" "SOURCES;ROOMS;PUBLIC;PRIVATE" ${ARGN})
  add_library(mcci_${room} STATIC ${ARG_SOURCES})
  add_library(mcci::${room} ALIAS mcci_${room})
  set_target_properties(mcci_${room} PROPERTIES EXPORT_NAME ${room})
  target_compile_features(mcci_${room} PUBLIC cxx_std_17)
  target_compile_options(mcci_${room} PRIVATE ${MCCI_WARNINGS})
  target_include_directories(mcci_${room} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
                                                 $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  list(TRANSFORM ARG_ROOMS PREPEND mcci_)
  target_link_libraries(mcci_${room} PUBLIC ${ARG_ROOMS} ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
  set_property(GLOBAL APPEND PROPERTY MCCI_ROOMS mcci_${room})
endfunction()

# OpenBLAS takes other kernels for AMD's processors and for Intel's since Cooper Lake than for Skylake, which round
# otherwise: what tests claim of trainings on some hundred images was mostly observed with the latter. Whatever has
# AVX-512 runs these, so that one machine's tests are another's; where there is none, medians of trainings must do.
set(MCCI_TEST_ENVIRONMENT OMP_NUM_THREADS=1)
if(EXISTS /proc/cpuinfo)
  file(STRINGS /proc/cpuinfo processor_flags REGEX "^flags" LIMIT_COUNT 1)
  if(processor_flags MATCHES "avx512vl")
    list(APPEND MCCI_TEST_ENVIRONMENT OPENBLAS_CORETYPE=SkylakeX)
  endif()
endif()

# One test binary and one CTest entry per room: a program linked to LibTorch takes 0.4 s to start.
# Tests compile at -O1, a fifth faster than -O2; the libraries under test stay at -O2. LibTorch's results depend on
# the number of threads, so tests get one, and CTest may run one test per core.
function(mcci_test room)
  cmake_parse_arguments(ARG "" "" "SOURCES;ROOMS;LABELS" ${ARGN})
  add_executable(${room}_test ${ARG_SOURCES})
  target_compile_options(${room}_test PRIVATE ${MCCI_WARNINGS} $<$<CONFIG:Release>:-O1>)
  target_include_directories(${room}_test PRIVATE ${PROJECT_SOURCE_DIR})
  list(TRANSFORM ARG_ROOMS PREPEND mcci_)
  target_link_libraries(${room}_test PRIVATE mcci_${room} ${ARG_ROOMS} GTest::gmock GTest::gtest_main)
  target_compile_definitions(${room}_test PRIVATE MCCI_FIXTURES="${PROJECT_SOURCE_DIR}/tests/fixtures")
  add_test(NAME ${room} COMMAND ${room}_test)
  set_tests_properties(${room} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 900 ENVIRONMENT "${MCCI_TEST_ENVIRONMENT}")
endfunction()
