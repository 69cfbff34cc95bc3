# Runs at each build with -DSOURCE_DIR= -DVERSION= -DINPUT= -DOUTPUT=. Writes OUTPUT only if the revision has changed.
execute_process(COMMAND git -C ${SOURCE_DIR} describe --always --dirty --abbrev=12 --exclude=*
                OUTPUT_VARIABLE REVISION RESULT_VARIABLE failed OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(failed)
  set(REVISION unknown)
endif()
configure_file(${INPUT} ${OUTPUT} @ONLY)
